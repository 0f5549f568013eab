"""The client of one kernel: sends requests, matches replies to them by message id, and delivers outputs to a `Sink`.

Wire protocol: the Jupyter messaging spec 5.5.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from socket import socket
from typing import Any, Literal

import msgspec

from sandbox_pool.calls import to_call
from sandbox_pool.kernel.channel import Channel
from sandbox_pool.kernel.loop_cost import LoopBudget
from sandbox_pool.kernel.messages import Reply, to_output, to_packages, to_progress, to_reply, to_size, to_state
from sandbox_pool.kernel.pulse import until_silent
from sandbox_pool.kernel.session import Message, Session
from sandbox_pool.kernel.sink import Fault, Sink
from sandbox_pool.kernel.zmtp import TooLarge
from sandbox_pool.logs import Logger

__all__ = ["KernelClient", "Request"]

log = Logger(__name__)

REPLY_BYTES = 4_000_000
DRAIN_TIMEOUT_S = 0.5
SKIPPED_BYTE_S = 1e-9
"""The estimated CPU time of receiving a byte of a dropped message."""
WHEN_FULL_BYTES = 1_000_000
"""The size limit of a message when the sink is full: large enough for an error, which is still delivered."""
OUTPUTS = frozenset({"stream", "display_data", "update_display_data", "execute_result"})


@dataclass(slots=True, eq=False)
class Request:
    """A running execution. `done` resolves to the reply once the status `idle` has come too, or to None if the
    kernel ends first.
    """

    message_id: str
    done: "asyncio.Future[Reply | None]"
    reply: Reply | None = None
    idle: bool = False


class KernelClient:
    """The connections to one kernel. They are opened once; when one of them ends, `gone` is set for good.

    `sink` receives outputs and calls. Messages that are malformed, wrongly signed or unsolicited are counted in
    `rejected` and ignored. Outputs larger than `limit_bytes` are dropped. `dial` is as in `Started`.

    The client measures the CPU time of reading: it reads a kernel that takes more than its share more slowly. It also
    sets `gone`, with the reason in `fault`, when unwanted messages have cost more than `attention_s`, when the kernel
    does not read its requests, or when its control thread does not answer for too long.
    """

    def __init__(
        self,
        connection: dict[str, Any],
        sink: Sink,
        *,
        limit_bytes: int,
        attention_s: float = 10.0,
        dial: Callable[[str], Awaitable[socket]] | None = None,
    ) -> None:
        self.gone = asyncio.Event()
        self.fault: Fault | None = None
        self.packages: dict[str, str] = {}
        self.rejected = 0
        self._first_rejected = ""
        self._connection = connection
        self._dial = dial
        self._limit_bytes = max(limit_bytes, REPLY_BYTES)
        self._sink = sink
        self._clock = asyncio.get_running_loop().time
        self._loop_budget = LoopBudget(attention_s, self._clock())
        self._unwanted: bool | None = None
        """Whether the current message was forged (True) or over a limit (False); None if it was wanted."""
        self._session = Session(connection["key"], connection["signature_scheme"])
        self._channels: dict[str, Channel] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._requests: dict[str, Request] = {}
        self._ended: dict[str, int] = {}
        """Maps the message ids of ended executions to their execution counts."""
        self._answers: dict[str, asyncio.Future[Message | None]] = {}
        self._welcome: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()

    async def connect(self, tasks: asyncio.TaskGroup) -> None:
        """Connects, and returns when the kernel has answered and our subscription to its outputs is active.

        Retries for as long as the kernel does not listen. Starts a task in `tasks` that monitors the kernel until
        `close`. Raises `ConnectionError` when the kernel ends meanwhile.
        """
        self._channels["control"] = await self._open("control", "DEALER", REPLY_BYTES, self._read_reply, heartbeat=True)
        self._channels["shell"] = await self._open("shell", "DEALER", REPLY_BYTES, self._read_reply)
        self._channels["iopub"] = await self._open("iopub", "SUB", self._limit_bytes, self._read_iopub)
        self._watcher = tasks.create_task(self._watch())
        info = self._ask("shell", "kernel_info_request", {})
        await asyncio.wait({info, self._welcome})
        answer = info.result()
        if self.gone.is_set() or answer is None:
            raise ConnectionError("the kernel ended while it started")
        with suppress(msgspec.MsgspecError, UnicodeError):
            self.packages = to_packages(answer)

    def execute(self, code: str, *, silent: bool = False, more: Sequence[str] | None = None) -> Request:
        """Sends code to run; wait for `done` before the next call. `silent` code is not stored in In and Out.

        With `more` the code is the first statement of an open block, and these are the next: `write` sends the others.
        """
        content: dict[str, Any] = {
            "code": code,
            "silent": silent,
            "store_history": not silent,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        if more is not None:
            content["codeact_open"] = list(more)
        request = Request(self._send("shell", "execute_request", content), asyncio.get_running_loop().create_future())
        self._requests[request.message_id] = request
        if self.gone.is_set():
            self._give_up()
        return request

    def write(self, request: Request, statements: Sequence[str], *, ended: bool) -> None:
        """Sends further statements of an open block; `ended`: they are its last ones."""
        content = {"request_id": request.message_id, "statements": list(statements), "ended": ended}
        if not self.gone.is_set():
            self._send("control", "codeact_source", content)

    def interrupt(self, request: Request) -> "asyncio.Future[Message | None]":
        """Asks the kernel to interrupt this request, whether its code has begun or not.

        The future resolves when the kernel has sent the signal, or to None if the kernel has ended. Wait for it
        before the next `execute`: the signal could interrupt that code instead.
        """
        return self._ask("control", "interrupt_request", {"request_id": request.message_id})

    def answer(self, call_id: str, *, value: str | None = None, error: str | None = None) -> None:
        """Answers a call: it returns `value`, which is JSON text, or raises an exception with the text `error`."""
        content = {"call_id": call_id, "value": value} if error is None else {"call_id": call_id, "error": error}
        if not self.gone.is_set():
            self._send("control", "codeact_return", content)

    def inventory(self) -> "asyncio.Future[Message | None]":
        """Asks for the kernel's inventory, also while code runs. Resolves to None if the kernel has ended."""
        return self._ask("control", "codeact_inventory_request", {})

    def state(self, content: dict[str, Any], buffers: Sequence[bytes]) -> "asyncio.Future[Message | None]":
        """Sends a request about the kernel's state (`guest/kernel_state.py`). Resolves to None if the kernel ends."""
        return self._ask("control", "codeact_state_request", content, buffers)

    def close(self) -> None:
        """Closes the connections, and resolves all pending requests to None."""
        if self._watcher is not None:
            self._watcher.cancel()
        for channel in self._channels.values():
            channel.close()
        self.gone.set()
        self._give_up()
        if self.rejected:
            log.warning("messages of a kernel were ignored", count=self.rejected, first=self._first_rejected)

    def _open(
        self,
        name: str,
        kind: Literal["DEALER", "SUB"],
        limit_bytes: int,
        read: Callable[[list[bytes]], None],
        *,
        heartbeat: bool = False,
    ) -> Coroutine[None, None, Channel]:
        def receive(frames: list[bytes] | TooLarge) -> None:
            began = time.thread_time()
            self._unwanted = None
            try:
                if not isinstance(frames, TooLarge):
                    read(frames)
                elif name == "iopub":
                    self._omit(frames)
                else:
                    self._reject(f"a reply of {frames} bytes")
            except Exception as error:  # A hostile message may provoke any exception.
                self._reject(repr(error))
            if self._unwanted is not None:
                spent_s = time.thread_time() - began
                if isinstance(frames, TooLarge):
                    spent_s += frames * SKIPPED_BYTE_S
                if self._loop_budget.waste(spent_s, self._clock(), forged=self._unwanted):
                    self._fail("costly")
            if name == "iopub" and (channel := self._channels.get(name)) is not None:
                channel.limit(WHEN_FULL_BYTES if self._sink.is_full else self._limit_bytes)

        transport, host = self._connection["transport"], self._connection["ip"]
        separator = "-" if transport == "ipc" else ":"
        address = f"{transport}://{host}{separator}{self._connection[f'{name}_port']}"
        return Channel.open(
            address,
            kind,
            limit_bytes=limit_bytes,
            on_message=receive,
            heartbeat=heartbeat,
            pay=lambda seconds: self._loop_budget.pay(seconds, self._clock()),
            dial=partial(self._dial, name) if self._dial is not None else None,
        )

    def _send(self, channel: str, kind: str, content: dict[str, Any], buffers: Sequence[bytes] = ()) -> str:
        message_id, frames = self._session.request(kind, content, buffers)
        self._channels[channel].send(frames)
        if self._channels[channel].overflowed:
            self._fail("costly")
        return message_id

    def _ask(
        self, channel: str, kind: str, content: dict[str, Any], buffers: Sequence[bytes] = ()
    ) -> "asyncio.Future[Message | None]":
        answer = self._answers[self._send(channel, kind, content, buffers)] = asyncio.get_running_loop().create_future()
        if self.gone.is_set():
            self._give_up()
        return answer

    def _read_reply(self, frames: list[bytes]) -> None:
        message = self._session.read(frames)
        request = self._requests.get(message.parent_id)
        if request is not None and message.type == "execute_reply":
            request.reply = to_reply(message)
            self._settle(request)
        elif (answer := self._answers.pop(message.parent_id, None)) is not None:
            answer.set_result(message)
        else:
            self._reject(message.type)

    def _read_iopub(self, frames: list[bytes]) -> None:
        message = self._session.read(frames)
        if message.type == "status":
            request = self._requests.get(message.parent_id)
            if request is not None and to_state(message) == "idle":
                request.idle = True
                self._settle(request)
        elif message.type == "iopub_welcome":
            if not self._welcome.done():
                self._welcome.set_result(message)
        elif message.type == "codeact_call":
            call = to_call(message.content)
            if (refusal := self._sink.call(call)) is not None:
                self.answer(call.call_id, error=refusal)
                self._unwanted = True
        elif message.type == "codeact_progress":
            if not self._sink.progress(to_progress(message)):
                self._reject(message.type)
        elif message.type == "codeact_omitted":
            self._sink.omitted(to_size(message))
        elif message.type in OUTPUTS and self._sink.is_full:
            self._omit(len(message.content))
        elif message.type != "execute_input":
            output = to_output(message, late=self._ended.get(message.parent_id))
            if output is not None and self._session.is_ours(message.parent_id):
                self._sink.output(output, len(message.content))
            else:
                self._reject(message.type, forged=output is not None)

    def _omit(self, size_bytes: int) -> None:
        self._unwanted = False
        self._sink.omitted(size_bytes)

    def _reject(self, reason: str, *, forged: bool = True) -> None:
        """Counts an ignored message. `forged` means that an unmodified kernel does not send such a message."""
        self._unwanted = forged
        self.rejected += 1
        self._first_rejected = self._first_rejected or reason[:200]

    def _fail(self, fault: Fault) -> None:
        self.fault = self.fault or fault
        self.gone.set()
        self._give_up()

    def _settle(self, request: Request) -> None:
        if request.reply is not None and request.idle:
            del self._requests[request.message_id]
            if request.reply.execution_count:
                self._ended[request.message_id] = request.reply.execution_count
            request.done.set_result(request.reply)

    async def _watch(self) -> None:
        """Waits until a connection ends, delivers what was received before, and marks the kernel as gone."""
        async with asyncio.TaskGroup() as tasks:
            pulse = tasks.create_task(self._feel_pulse())
            endings = [tasks.create_task(channel.ended()) for channel in self._channels.values()]
            await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
            try:
                async with asyncio.timeout(DRAIN_TIMEOUT_S):
                    await asyncio.wait(endings)
            except TimeoutError:
                pass
            for task in (pulse, *endings):
                task.cancel()
        self.gone.set()
        self._give_up()

    async def _feel_pulse(self) -> None:
        def ask() -> "asyncio.Future[Message | None]":
            return self._ask("control", "connect_request", {})

        await until_silent(ask, is_busy=lambda: bool(self._requests))
        self._fail("silent")

    def _give_up(self) -> None:
        """Resolves all pending requests to None."""
        for request in self._requests.values():
            request.done.set_result(None)
        for answer in (self._welcome, *self._answers.values()):
            if not answer.done():
                answer.set_result(None)
        self._requests.clear()
        self._answers.clear()
