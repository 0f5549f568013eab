"""What a question to an agent may have besides its text. `Agent` and `AsyncAgent` take the same."""

from typing import TypedDict

from codeact.api.images import Images
from codeact.api.local_files import Paths
from codeact.api.output import Output

__all__ = ["Question"]


class Question(TypedDict, total=False):
    """Keyword arguments of `run` and `stream`.

    Attributes:
        files: Paths of local files, added to those of earlier questions. Code finds them in its working directory.
        images: Images that the model sees: bytes, paths, or images of Pillow.
        timeout: Seconds until the model and the kernel are stopped; the answer then fails with the code `timeout`.
        output: A pydantic model class: the answer is JSON for it, and `result.parsed` an instance.
    """

    files: Paths
    images: Images
    timeout: float | None
    output: Output | None
