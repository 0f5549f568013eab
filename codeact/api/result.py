"""The result of a question to an agent: the answer, the work for it, and the files and images that it produced."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from anyio.from_thread import BlockingPortal

from codeact import events as e
from codeact.api.images import Image
from codeact.api.written_files import OutputFile
from codeact.data_urls import split_data_url
from codeact.errors import CodeActError, NotFound
from codeact.events import Input, Item
from codeact.runs.media import decode
from codeact.store.references import sha256_of
from codeact.store.run_store import RunStore

__all__ = ["AnswerFailed", "Result", "answer_of", "messages_of", "result_of"]


class AnswerFailed(CodeActError):
    """An answer ended with an error. `response` has what there is of it: items, usage, timings."""

    def __init__(self, response: e.Response) -> None:
        assert response.error is not None
        super().__init__(response.error.message, code=response.error.code)
        self.response = response


class Result:
    """A finished answer. `str()` returns its text; `response` is the whole response, as in the Responses API."""

    def __init__(
        self,
        response: e.Response,
        conversation: Sequence[Input | Item],
        images: Sequence[Image],
        load_files: Callable[[], Awaitable[list[OutputFile]]],
    ) -> None:
        self.response = response
        self.images = images
        """The images that the code displayed."""
        self.parsed: Any = None
        """The answer as an instance of the class `output`; None without that class, and if the answer was cut off."""
        self.portal: BlockingPortal | None = None
        self._conversation = conversation
        self._length = len(conversation)
        self._load = load_files
        self._files: list[OutputFile] | None = None

    @property
    def answer(self) -> str:
        """The model's text after the last block of code."""
        return answer_of(self.response)

    @property
    def items(self) -> list[Item]:
        """Messages, reasoning, code with its outputs, and function calls, in order."""
        return self.response.output

    @property
    def usage(self) -> e.ResponseUsage | None:
        """The tokens of all model calls; None if unknown."""
        return self.response.usage

    @property
    def timings(self) -> e.Ledger:
        """Timings in seconds: the wait for the sandbox, first token, first output, total."""
        return self.response.ledger

    @property
    def status(self) -> str:
        """`completed`, or `incomplete` if a limit ended the answer."""
        return self.response.status

    @property
    def notices(self) -> list[e.Notice]:
        """Information about this answer, for example that the kernel was replaced."""
        return self.response.notices

    @property
    def output_text(self) -> str:
        """The text of the answer without commentary, as the Responses API defines it."""
        return self.response.output_text

    @property
    def output(self) -> list[Item]:
        """The same as `items`, under the name in the Responses API."""
        return self.response.output

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation up to this answer, as `{"role": …, "content": …}`."""
        return messages_of(self._conversation[: self._length])

    @property
    def files(self) -> list[OutputFile]:
        """The files that code has written or changed since the question, except hidden ones, ordered by path.

        They are read at the first use of this property, which must come before the agent's next question. With
        `AsyncAgent`, call `await result.load_files()` first. Raises `RuntimeError` without that, and `SandboxError`.
        """
        if self._files is None and self.portal is not None:
            self._files = self.portal.call(self.load_files)
        if self._files is None:
            raise RuntimeError("Read the files first: `await result.load_files()`.")
        return self._files

    async def load_files(self) -> list[OutputFile]:
        """Reads the files from the sandbox, once. Raises `SandboxError`."""
        if self._files is None:
            self._files = await self._load()
        return self._files

    def __str__(self) -> str:
        return self.answer


def answer_of(response: e.Response) -> str:
    """Returns the text of the messages after the last block of code."""
    texts: list[str] = []
    for item in response.output:
        if isinstance(item, e.Message):
            texts.append("".join(part.text for part in item.content))
        elif isinstance(item, e.CodeInterpreterCall):
            texts = []
    return "".join(texts)


async def result_of(
    response: e.Response,
    conversation: Sequence[Input | Item],
    load_files: Callable[[], Awaitable[list[OutputFile]]],
    store: RunStore,
    *,
    owner: str,
) -> Result:
    """Returns the result of a finished response. `conversation` has all items, including those of this response."""
    urls = [
        output.url
        for item in response.output
        if isinstance(item, e.CodeInterpreterCall)
        for output in item.outputs or ()
        if isinstance(output, e.ImageOutput)
    ]
    images = [await _image(url, store, owner) for url in urls]
    return Result(response, conversation, list(filter(None, images)), load_files)


def messages_of(history: Iterable[Input | Item]) -> list[dict[str, str]]:
    """Returns questions and answers as text, each answer with all of its prose."""
    messages: list[dict[str, str]] = []
    for item in history:
        if isinstance(item, e.InputMessage):
            text = "\n".join(text for part in item.content if isinstance(text := part.get("text"), str))
            messages.append({"role": item.role, "content": text})
        elif isinstance(item, e.Message):
            text = "".join(part.text for part in item.content)
            if messages and messages[-1]["role"] == "assistant":
                messages[-1]["content"] += text
            else:
                messages.append({"role": "assistant", "content": text})
    return messages


async def _image(url: str, store: RunStore, owner: str) -> Image | None:
    if (sha256 := sha256_of(url)) is not None:
        try:
            blob = await store.get_blob(sha256, owner=owner)
        except NotFound:
            return None
        return Image(blob.data, blob.media_type)
    return Image(decode(url)[1], decode(url)[0]) if split_data_url(url) is not None else None
