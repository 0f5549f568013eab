"""What an agent returns: the answer, what was done for it, and the files and images that came of it."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from anyio.from_thread import BlockingPortal

from codeact import events as e
from codeact.api.images import Image
from codeact.api.written_files import OutputFile
from codeact.data_urls import split_data_url
from codeact.errors import NotFound
from codeact.events import Input, Item
from codeact.runs.media import decode
from codeact.store.references import sha256_of
from codeact.store.run_store import RunStore

__all__ = ["Result", "answer_of", "messages_of", "result_of"]


class Result:
    """An answer that has ended. `str()` gives its text.

    `response` is the whole of it, as the Responses API has it.
    """

    def __init__(
        self,
        response: e.Response,
        said: Sequence[Input | Item],
        images: Sequence[Image],
        load_files: Callable[[], Awaitable[list[OutputFile]]],
    ) -> None:
        self.response = response
        self.images = images
        """The images that the code displayed."""
        self.parsed: Any = None
        """The answer as an instance of the `output` that was asked for; None without one, or where it was cut off."""
        self.portal: BlockingPortal | None = None
        self._said = said
        self._said_so_far = len(said)
        self._load = load_files
        self._files: list[OutputFile] | None = None

    @property
    def answer(self) -> str:
        """What the model says at the end, without what it said before and between its code."""
        return answer_of(self.response)

    @property
    def items(self) -> list[Item]:
        """Messages, reasoning, code with its outputs, and calls of functions, in order."""
        return self.response.output

    @property
    def usage(self) -> e.ResponseUsage | None:
        """The tokens of all calls of the model; None where nobody knows them."""
        return self.response.usage

    @property
    def timings(self) -> e.Ledger:
        """Where the time went, in seconds: wait for the sandbox, first token, first output, total."""
        return self.response.ledger

    @property
    def status(self) -> str:
        """`completed`, or `incomplete` where a limit ended the answer."""
        return self.response.status

    @property
    def notices(self) -> list[e.Notice]:
        """What you should know about this answer, such as a kernel that was replaced."""
        return self.response.notices

    @property
    def output_text(self) -> str:
        """The same as `answer`, under the name that the Responses API has."""
        return self.response.output_text

    @property
    def output(self) -> list[Item]:
        """The same as `items`, under the name that the Responses API has."""
        return self.response.output

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation up to here, as `{"role": …, "content": …}`: what was asked, and what was answered."""
        return messages_of(self._said[: self._said_so_far])

    @property
    def files(self) -> list[OutputFile]:
        """The files that code has written or changed since the question, by their paths; hidden ones are left out.

        They are read when this is first used, so before the agent's next question: `AsyncAgent` needs an
        `await result.load_files()` for that. Raises `RuntimeError` without it, and `SandboxError`.
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
    """The text of the messages after the last block of code."""
    texts: list[str] = []
    for item in response.output:
        if isinstance(item, e.Message):
            texts.append("".join(part.text for part in item.content))
        elif isinstance(item, e.CodeInterpreterCall):
            texts = []
    return "".join(texts)


async def result_of(
    response: e.Response,
    said: Sequence[Input | Item],
    load_files: Callable[[], Awaitable[list[OutputFile]]],
    store: RunStore,
    *,
    owner: str,
) -> Result:
    """The result of a response that has ended. `said` is the conversation, this answer included."""
    urls = [
        output.url
        for item in response.output
        if isinstance(item, e.CodeInterpreterCall)
        for output in item.outputs or ()
        if isinstance(output, e.ImageOutput)
    ]
    images = [await _image(url, store, owner) for url in urls]
    return Result(response, said, list(filter(None, images)), load_files)


def messages_of(history: Iterable[Input | Item]) -> list[dict[str, str]]:
    """Questions and answers as text. An answer has all its prose."""
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
