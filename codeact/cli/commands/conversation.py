"""Opens a conversation for `run` and `chat`, on a server or in this process, and shows the events of its answers."""

from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio.from_thread import BlockingPortal

from codeact import events as e
from codeact.api.local_files import read_file
from codeact.client import Connection, connect, fetch_status
from codeact.errors import ServerUnreachable
from codeact.settings import Settings

__all__ = ["INTERRUPTED", "Conversation", "Wishes", "ask", "open_conversation"]

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended: 128 + SIGINT, as shells have it."""

SENT_FILE_MB = 5
"""Files travel inside the question, and a server takes 8 MB of text for one (CODEACT_MAX_MESSAGE_BYTES)."""

Show = Callable[[e.Event], None]


class Conversation(Protocol):
    """Questions that build on each other, one at a time."""

    async def describe(self) -> tuple[str, list[str]]:
        """One line about model, sandbox and database, and what the user should be warned of."""
        ...

    async def answer(self, text: str, show: Show) -> e.Response | None:
        """Shows every event; the finished response, or None where the stop left none.

        Raises `CodeActError`, and what `show` raises.
        """
        ...

    async def stop(self) -> None:
        """Stops the answer under way, if there is one. For any task of the same loop."""
        ...


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of every question; None: the server's or the settings' choice.

    `files` go with the first question and stay in the working directory. `max_turns` blocks of code may run for a
    question.
    """

    model: str | None = None
    instructions: str | None = None
    max_turns: int | None = None
    files: Sequence[Path] = ()

    def fields(self) -> dict[str, Any]:
        """As fields of a request."""
        fields = {"model": self.model, "instructions": self.instructions, "max_tool_calls": self.max_turns}
        return {name: value for name, value in fields.items() if value is not None}


class _Remote:
    """With a server. Each question has a socket of its own: a restart between two does no harm."""

    def __init__(self, url: str, api_key: str | None, wishes: Wishes) -> None:
        self._url = url
        self._api_key = api_key
        self._wishes = wishes
        self._last_id: str | None = None
        self._connection: Connection | None = None
        self._stopping = False

    async def describe(self) -> tuple[str, list[str]]:
        status = await fetch_status(self._url, self._api_key)
        sandbox = status.sandbox
        parts = {"model": status.model, "sandbox": sandbox and sandbox.summary, "database": status.store}
        summary = " · ".join(f"{name}: {part or 'starting'}" for name, part in parts.items())
        warnings = list(sandbox.missing) if sandbox else []
        if status.model == "demo":
            warnings.append("The demo model only plays a few scripted conversations; CODEACT_MODEL names a real one.")
            warnings += [f"  {example}" for example in status.examples]
        return f"{self._url} · {summary}", warnings

    async def answer(self, text: str, show: Show) -> e.Response | None:
        self._connection, self._stopping = None, False
        question = await _with_files(text, self._wishes.files) if self._last_id is None else text
        fields = self._wishes.fields()
        async with (
            connect(self._url, self._api_key) as connection,
            aclosing(connection.create(question, previous_response_id=self._last_id, **fields)) as events,
        ):
            async for event in events:
                if isinstance(event, e.ResponseCreated):
                    self._last_id = event.response.id
                    self._connection = connection
                    if self._stopping:
                        await self.stop()
                show(event)
                if isinstance(event, e.TerminalEvent):
                    return event.response
        return None

    async def stop(self) -> None:
        self._stopping = True  # before the response has an id, this is all that can be done
        if self._connection is not None and self._last_id is not None:
            await self._connection.cancel(self._last_id)


class _Local:
    """With an agent in this process, given by its method `stream`."""

    def __init__(self, stream: Callable[[str], AsyncGenerator[e.Event, None]]) -> None:
        self._stream = stream
        self._scope = anyio.CancelScope()

    async def describe(self) -> tuple[str, list[str]]:
        return "In this process; the conversation is not stored.", []

    async def answer(self, text: str, show: Show) -> e.Response | None:
        self._scope = anyio.CancelScope()
        with self._scope:
            async with aclosing(self._stream(text)) as events:
                async for event in events:
                    show(event)
                    if isinstance(event, e.TerminalEvent):
                        return event.response
        return None

    async def stop(self) -> None:
        self._scope.cancel()


def address_and_key(settings: Settings, url: str | None) -> tuple[str, str | None]:
    """The server at `url`, at CODEACT_URL or where `codeact serve` would listen, and the key for it."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = url or settings.url or f"http://{host}:{settings.port}"
    return address, settings.api_keys[0].get_secret_value() if settings.api_keys else None


@asynccontextmanager
async def open_conversation(
    settings: Settings, wishes: Wishes, *, url: str | None, local: bool, say: Callable[[str], None]
) -> AsyncIterator[Conversation]:
    """A new conversation: with the server at `url`, at CODEACT_URL or where `codeact serve` would listen.

    Where none is named and none answers, or with `local`, it is held in this process; `say` is told so.
    Raises `CodeActError` and `SandboxError`.
    """
    address, api_key = address_and_key(settings, url)
    if not local:
        try:
            async with connect(address, api_key):
                pass
        except ServerUnreachable:
            if url or settings.url:
                raise
            say(f"No server answers at {address}; starting an agent in this process.")
            local = True
    if not local:
        yield _Remote(address, api_key, wishes)
        return
    from codeact.api.async_agent import AsyncAgent
    from codeact.models.litellm.loading import own_process

    own_process()
    agent = AsyncAgent(wishes.model, instructions=wishes.instructions, files=wishes.files, max_turns=wishes.max_turns)
    async with agent:
        yield _Local(agent.stream)


async def _with_files(text: str, paths: Sequence[Path]) -> str | list[dict[str, Any]]:
    """The question as a server takes it, with the files in it. Raises `InvalidRequest`."""
    if not paths:
        return text
    parts: list[dict[str, Any]] = [{"type": "input_text", "text": text}]
    for path in paths:
        data = b64encode(await read_file(path, limit_mb=SENT_FILE_MB)).decode()
        parts.append(
            {"type": "input_file", "filename": path.name, "file_data": f"data:application/octet-stream;base64,{data}"}
        )
    return [{"role": "user", "content": parts}]


def ask(portal: BlockingPortal, conversation: Conversation, text: str, show: Show) -> e.Response | None:
    """Answers in the portal's loop while the main thread waits for its end.

    The first Ctrl-C stops the answer, and what was produced is shown; the second raises `KeyboardInterrupt`.
    Raises what `Conversation.answer` and `show` raise.
    """
    answer = portal.start_task_soon(conversation.answer, text, show)
    try:
        return answer.result()
    except KeyboardInterrupt:
        stop = portal.start_task_soon(conversation.stop)
    try:
        stop.result()
        return answer.result()
    except KeyboardInterrupt:
        answer.cancel()
        raise
