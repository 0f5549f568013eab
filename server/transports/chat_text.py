"""Writes a response as one text: prose, code and outputs in fences, and links to images."""

from typing import Literal

from codeact import events as e
from codeact.events.standard import standard_outputs
from codeact.server.blob_urls import url_of
from codeact.store.references import sha256_of
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["ChatText"]

FENCE = "````"
"""Longer than the fences that code and outputs contain."""


class ChatText:
    """Converts the events of a response to text. `images` is the beginning of image URLs.

    Without `shows_code` the text has no code and no outputs: a program reads it.

    Outputs that come while the model writes the code follow the code.
    """

    def __init__(self, *, images: str, shows_code: bool = True) -> None:
        self._shows_code = shows_code
        self._images = images
        self._fence: Literal["python", "text"] | None = None
        self._at_line_start = True
        self._early: list[str] = []

    def feed(self, event: e.Event) -> str:
        """The text that the event adds."""
        match event:
            case e.OutputTextDelta(delta=delta):
                return self._add(delta)
            case _ if not self._shows_code:
                return ""
            case e.CodeDelta(delta=delta):
                return self._enter("python") + self._add(delta)
            case e.CodeDone():
                return self._leave() + self._outputs()
            case e.CodeOutput(output=Stream() | DisplayData() | ExecuteResult() | Error() as output):
                logs = "".join(part.logs for part in standard_outputs([output]) if isinstance(part, e.LogsOutput))
                self._early += [logs] if logs else []
                return self._outputs() if self._fence != "python" else ""
            case e.OutputItemDone(item=e.CodeInterpreterCall(outputs=outputs)):
                images = [part.url for part in outputs or () if isinstance(part, e.ImageOutput)]
                code = self._leave() + self._outputs() + self._leave()
                return code + "".join(self._add(f"![image]({self._address(name)})\n\n") for name in images)
        return ""

    def _address(self, name: str) -> str:
        sha256 = sha256_of(name)
        return name if sha256 is None else f"{self._images}{url_of(sha256)}"

    def _outputs(self) -> str:
        logs = "".join(self._early)
        self._early.clear()
        return self._enter("text") + self._add(logs) if logs else ""

    def _add(self, text: str) -> str:
        if text:
            self._at_line_start = text.endswith("\n")
        return text

    def _enter(self, fence: Literal["python", "text"]) -> str:
        if self._fence == fence:
            return ""
        self._fence = fence
        return ("" if self._at_line_start else "\n") + f"{FENCE}{fence}\n"

    def _leave(self) -> str:
        if self._fence is None:
            return ""
        self._fence = None
        return self._add(("" if self._at_line_start else "\n") + f"{FENCE}\n\n")
