"""A conversation for the commands `run` and `chat`, with a server or with an agent in this process."""

from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import anyio
from anyio.from_thread import BlockingPortal

from codeact import events as e
from codeact.api.local_files import read_file
from codeact.client import Connection, connect
from codeact.errors import ServerUnreachable
from codeact.http_client import fetch_status, find_profile
from codeact.settings import Settings
from codeact.tools.approval import Judge

__all__ = ["INTERRUPTED", "AskOptions", "Conversation", "ask", "open_conversation"]

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended: 128 + SIGINT, as in shells."""

SENT_FILE_MB = 5
"""The largest file: it is sent inside the question, and servers accept 8 MB for that (CODEACT_MAX_MESSAGE_BYTES)."""

Show = Callable[[e.Event], None]
Text = str | list[dict[str, Any]]
"""A question, or items of a request."""


class Conversation(Protocol):
    """A conversation that answers one question at a time."""

    async def describe(self) -> tuple[str, list[str]]:
        """Returns one line about model, sandbox and database, and a list of warnings for the user."""
        ...

    async def answer(self, text: Text, show: Show) -> e.Response | None:
        """Asks, and calls `show` with every event; returns the finished response, or None if it was stopped before.

        `text` may be decisions about what waits for approval. Raises `CodeActError`, and what `show` raises.
        """
        ...

    async def stop(self) -> None:
        """Stops the current answer, if there is one. Any task of the same event loop may call it."""
        ...

    @property
    def id(self) -> str | None:
        """The conversation's id; None before the first answer, and if it is not stored."""
        ...


@dataclass(frozen=True, slots=True)
class AskOptions:
    """Options of the command line for every question; None means the server's choice or the setting.

    `files` are sent with the first question and remain in the working directory. `max_turns` limits the blocks of code
    for one question. `profile` is the name of one that the server keeps; the other options count more.
    """

    model: str | None = None
    instructions: str | None = None
    max_turns: int | None = None
    files: Sequence[Path] = ()
    profile: str | None = None

    def fields(self) -> dict[str, Any]:
        """Returns the options as fields of a request."""
        fields = {"model": self.model, "instructions": self.instructions, "max_tool_calls": self.max_turns}
        return {name: value for name, value in fields.items() if value is not None}


class _Remote:
    """A conversation with a server. Each question opens a new socket, so the server may restart in between."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        options: AskOptions,
        *,
        profile: Mapping[str, Any],
        last_id: str | None = None,
    ) -> None:
        self._url = url
        self._profile = profile
        self._api_key = api_key
        self._options = options
        self._last_id = last_id
        self._id: str | None = None
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

    async def answer(self, text: Text, show: Show) -> e.Response | None:
        self._connection, self._stopping = None, False
        question = text
        if self._last_id is None and isinstance(text, str):
            question = await _with_files(text, self._options.files)
        fields = {**self._profile, **self._options.fields()}
        async with (
            connect(self._url, self._api_key) as connection,
            aclosing(connection.create(question, previous_response_id=self._last_id, **fields)) as events,
        ):
            async for event in events:
                if isinstance(event, e.ResponseCreated):
                    self._last_id = event.response.id
                    if event.response.conversation is not None:
                        self._id = event.response.conversation.id
                    self._connection = connection
                    if self._stopping:
                        await self.stop()
                show(event)
                if isinstance(event, e.TerminalEvent):
                    return event.response
        return None

    @property
    def id(self) -> str | None:
        return self._id

    async def stop(self) -> None:
        self._stopping = True  # Without the response's id nothing can be sent yet: `answer` then calls `stop` again.
        if self._connection is not None and self._last_id is not None:
            await self._connection.cancel(self._last_id)


class _Local:
    """A conversation with an agent in this process, given by its method `stream`."""

    def __init__(self, stream: Callable[[str], AsyncGenerator[e.Event, None]]) -> None:
        self._stream = stream
        self._scope = anyio.CancelScope()

    async def describe(self) -> tuple[str, list[str]]:
        return "In this process; the conversation is not stored.", []

    async def answer(self, text: Text, show: Show) -> e.Response | None:
        assert isinstance(text, str), "an agent of this process asks its judge, and never waits"
        self._scope = anyio.CancelScope()
        with self._scope:
            async with aclosing(self._stream(text)) as events:
                async for event in events:
                    show(event)
                    if isinstance(event, e.TerminalEvent):
                        return event.response
        return None

    @property
    def id(self) -> str | None:
        return None

    async def stop(self) -> None:
        self._scope.cancel()


def address_and_key(settings: Settings, url: str | None) -> tuple[str, str | None]:
    """Returns the server's address (`url`, else CODEACT_URL, else where `codeact serve` would listen), and its key."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = url or settings.url or f"http://{host}:{settings.port}"
    return address, settings.api_keys[0].get_secret_value() if settings.api_keys else None


@asynccontextmanager
async def open_conversation(
    settings: Settings,
    options: AskOptions,
    *,
    url: str | None,
    local: bool,
    report: Callable[[str], None],
    judge: Judge | None = None,
    last_id: str | None = None,
) -> AsyncIterator[Conversation]:
    """Opens a new conversation, or the one that goes on after the response `last_id`.

    The server is at `url`, at CODEACT_URL or where `codeact serve` would listen. With `local`, or if no address is
    given and no server answers, an agent in this process answers instead; `report` is called with a sentence about the
    latter. `judge` decides there about what CODEACT_APPROVAL names. Raises `CodeActError` and `SandboxError`.
    """
    address, api_key = address_and_key(settings, url)
    if not local:
        try:
            async with connect(address, api_key):
                pass
        except ServerUnreachable:
            if url or settings.url or last_id is not None or options.profile is not None:
                raise
            report(f"No server answers at {address}; starting an agent in this process.")
            local = True
    if not local:
        profile = await find_profile(address, api_key, options.profile) if options.profile is not None else {}
        yield _Remote(address, api_key, options, profile=profile, last_id=last_id)
        return
    from codeact.api.async_agent import AsyncAgent
    from codeact.models.litellm.loading import own_process

    own_process()
    agent = AsyncAgent(
        options.model,
        instructions=options.instructions,
        files=options.files,
        max_turns=options.max_turns,
        approval=settings.approval,
        approve=judge,
    )
    async with agent:
        yield _Local(agent.stream)


async def _with_files(text: str, paths: Sequence[Path]) -> str | list[dict[str, Any]]:
    """Returns the question as `input` for a request, with the files in it. Raises `InvalidRequest` for a bad file."""
    if not paths:
        return text
    parts: list[dict[str, Any]] = [{"type": "input_text", "text": text}]
    for path in paths:
        data = b64encode(await read_file(path, limit_mb=SENT_FILE_MB)).decode()
        parts.append(
            {"type": "input_file", "filename": path.name, "file_data": f"data:application/octet-stream;base64,{data}"}
        )
    return [{"role": "user", "content": parts}]


def ask(portal: BlockingPortal, conversation: Conversation, text: Text, show: Show) -> e.Response | None:
    """Asks in the portal's event loop, while the main thread waits; returns what `Conversation.answer` returns.

    The first Ctrl-C stops the answer, whose remaining events are still shown; the second one raises
    `KeyboardInterrupt`. Also raises what `Conversation.answer` and `show` raise.
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
