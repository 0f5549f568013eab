"""Passes a question on to the server that holds the kernel of its conversation, and answers questions so passed on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
import msgspec
import structlog

from codeact.errors import CodeActError, Stopping
from codeact.runs.holders import HeldElsewhere
from codeact.runs.run import Run
from codeact.server.auth.caller import Caller
from codeact.server.peers.client import Peers, PeerUnreachable
from codeact.server.peers.passed_run import ALIVE, ENDED, FRAME, RUN, Follow, Lines, PassedRun
from codeact.server.peers.spool import Spool
from codeact.server.requests.create import CreateBody, CreateRequest, finished

__all__ = ["QUESTIONS", "PassedQuestion", "Unanswered", "ask", "passed_question", "received_request", "stream"]

log = structlog.get_logger(__name__)

QUESTIONS = "/internal/v1/questions"
ALIVE_S = 1.0
"""How often a server says on a stream that it lives."""
MADE_ANEW = {"messages", "compact_only"}
"""The fields of a `CreateRequest` that follow from its body."""
MOST_ERROR_BYTES = 100_000


class PassedQuestion(msgspec.Struct, kw_only=True):
    """A question on its way to another server.

    `further` are the fields of `CreateRequest` that no client sends. `follows`: the stream goes on with what follows
    the response.
    """

    response_id: str
    body: CreateBody
    further: dict[str, Any] = msgspec.field(default_factory=dict)
    answer_id: str | None = None
    is_unnamed: bool = False
    follows: bool = False


class Unanswered(Exception):
    """The other server did not take the question: this server answers it itself, under the same id."""


def passed_question(request: CreateRequest, held: HeldElsewhere, **more: Any) -> PassedQuestion:
    """The request as it is passed on. `more` are further fields of `PassedQuestion`."""
    body = CreateBody(**{name: getattr(request, name) for name in CreateBody.__struct_fields__})
    own = set(CreateRequest.__struct_fields__) - set(CreateBody.__struct_fields__) - MADE_ANEW
    further = {name: getattr(request, name) for name in own}
    return PassedQuestion(response_id=held.response_id, body=body, further=further, **more)


def received_request(question: PassedQuestion) -> CreateRequest:
    """The request of a question that was passed on. Raises `InvalidRequest`."""
    request = finished(question.body)
    kinds = {field.name: field.type for field in msgspec.structs.fields(CreateRequest)}
    for name, value in question.further.items():
        setattr(request, name, msgspec.convert(value, kinds[name]))
    return request


async def ask(peers: Peers, process: str, question: PassedQuestion, *, caller: Caller, follow: Follow) -> PassedRun:
    """Passes the question on; returns its run. Raises `Unanswered`, and the error with which it was refused."""
    with Spool.open() as body:
        await body.put(msgspec.json.encode(question))
        try:
            answer = await peers.send(process, "POST", QUESTIONS.encode(), caller=caller, body=body)
        except PeerUnreachable as error:
            raise Unanswered from error
    begun = False
    try:
        if answer.status_code != 200:
            raise await _refusal(answer, process)
        run = await PassedRun.begun(Lines(answer), owner=caller.owner, follow=follow, follows=question.follows)
        begun = True
        return run
    except httpx.HTTPError as error:
        raise Unanswered from error
    finally:
        if not begun:
            await answer.aclose()


async def stream(run: Run, *, follows: bool) -> AsyncGenerator[bytes, None]:
    """The lines for a run of this server; see `passed_run`. If its log breaks, the stream does."""
    at: Run | None = run
    last = run
    try:
        while at is not None:
            yield RUN + msgspec.json.encode(at.response) + b"\n"
            async with aclosing(at.log.read(idle_s=ALIVE_S)) as chunks:
                async for frames in chunks:
                    yield b"".join(FRAME + frame.encode() + b"\n" for frame in frames) or ALIVE
            last, at = at, await at.successor() if follows else None
    except CodeActError as error:
        log.warning("a stream to another server ends", response=last.id, reason=error.message)
        return
    yield ENDED + msgspec.json.encode(last.steering) + b"\n"


async def _refusal(answer: httpx.Response, process: str) -> Exception:
    """The error of the other server, as if this one had raised it; `Unanswered` if it took no note of the question."""
    content = bytearray()
    async for piece in answer.aiter_raw():
        content += piece
        if len(content) > MOST_ERROR_BYTES:
            break
    try:
        error = msgspec.json.decode(bytes(content))["error"]
        code, message, param = error["code"], str(error["message"]), error["param"]
    except (msgspec.DecodeError, KeyError, TypeError):
        code, message, param = None, "", None
    if code is None or (answer.status_code, code) == (Stopping.status, Stopping.code):
        log.warning("another server took no note of a question", server=process, status=answer.status_code)
        return Unanswered()
    return error_of(answer.status_code, code, message, param, answer.headers.get("retry-after"))


def error_of(status: int, code: str, message: str, param: str | None, retry_after: str | None) -> CodeActError:
    """The error with this code, of its own class if that is known."""
    kinds: list[type[CodeActError]] = [CodeActError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    kind = next((kind for kind in kinds if kind.code == code), CodeActError)
    error = kind.__new__(kind)
    CodeActError.__init__(error, message, param=param, code=code)
    error.status = status  # type: ignore[misc]
    error.retry_after_s = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    return error
