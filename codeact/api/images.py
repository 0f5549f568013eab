"""Images that a program passes to an agent or gets from it: bytes, files, and Pillow images."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from codeact.api.local_files import read_file
from codeact.data_urls import data_url
from codeact.errors import InvalidRequest
from codeact.runs.media import image_type
from codeact.store.records import Blob

__all__ = ["Image", "Images", "image_parts"]

Images = Iterable[Any]
"""Each element is bytes, a path, an `Image`, or a Pillow image."""

IMAGE_MB = 10


@dataclass(frozen=True, slots=True)
class Image:
    """An image that code has displayed: its content and its media type, such as `image/png`."""

    data: bytes
    media_type: str

    def pil(self) -> Any:
        """Returns a Pillow image. Raises `ImportError` if Pillow is not installed (`pip install pillow`)."""
        from PIL import Image as pillow

        return pillow.open(io.BytesIO(self.data))


async def image_parts(images: Images) -> list[dict[str, Any]]:
    """Returns the images as parts of a message for the model. Raises `InvalidRequest` for anything else."""
    return [{"type": "input_image", "image_url": await _url(image), "detail": "auto"} for image in images]


async def _url(image: Any) -> str:
    if isinstance(image, str | PathLike):
        data, name = await read_file(Path(image), limit_mb=IMAGE_MB), f"'{Path(image)}'"
    elif isinstance(image, Image):
        data, name = image.data, "the image"
    elif isinstance(image, bytes | bytearray):
        data, name = bytes(image), "the image"
    elif callable(getattr(image, "save", None)):  # A Pillow image; recognised without importing Pillow.
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        data, name = buffer.getvalue(), "the image"
    else:
        raise InvalidRequest(
            f"An image is bytes, a path or an image of Pillow, not {type(image).__name__}.", param="images"
        )
    media_type = image_type(Blob(data, ""))
    if media_type is None:
        raise InvalidRequest(f"Models see PNG, JPEG, GIF and WebP; {name} is none of them.", param="images")
    return data_url(media_type, data)
