"""The functions that read the record of an answer to verify it, with inputs for `tests/test_growth.py`.

Anybody may have written such a record: archives are imported.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from codeact import events as e
from codeact.agent.rerunning import PastCall, Rerun
from codeact.errors import CodeActError
from codeact.exports.archive_form import ArchivedResponse
from codeact.exports.archive_ids import Renewal
from codeact.store.records import Blob, StoredResponse
from codeact.tools.values import hashed_arguments
from codeact.verification.comparing import compare
from codeact.verification.plan import plan
from codeact.verification.repeatable import why_not_again
from codeact.verification.replaying import Recorded
from codeact.verification.whole import whole_outputs, whole_text
from sandbox_pool.calls import Call
from sandbox_pool.outputs import DisplayData, Error, ExecutionResult, Stream
from tests.growth import TEXTS, Inputs, Reader, contents, refusing

__all__ = ["TABLE"]

BLOB = "0" * 64
LEFT_OUT = f"[1 of 2 outputs are left out here; all of them: blob:{BLOB}]\n"
SHORTENED = f"[1 of 2 characters are left out here; all of them: blob:{BLOB}]\n"


def code(at: int, **fields: Any) -> e.CodeInterpreterCall:
    call = e.CodeInterpreterCall(id=f"ci_{at}", container_id=f"cntr_{at}", code="x = 1\n" * 20)
    call.result = ExecutionResult(status="ok", duration_s=0.0)
    for name, value in fields.items():
        setattr(call, name, value)
    return call


def answer(*items: e.Item, of: list[e.Input] | None = None) -> StoredResponse:
    response = e.Response(id="resp_1", created_at=0, model="m")
    response.output = list(items)
    return StoredResponse(response, of or [])


def continued(at: int) -> e.CodeInterpreterCall:
    """Code whose statements were approved in many steps: each goes on after the one before."""
    before = {"continues": f"ci_{at - 1}"} if at else {}
    return code(at, waits_for=["apr_1"], ran="x = 1\n", result=None, **before)


def steps(n: int) -> list[StoredResponse]:
    asked = e.CodeApprovalRequest(id="apr_1", code="x")
    return [answer(asked, *map(continued, range(min(n, 20_000))))]


def calls(n: int) -> list[StoredResponse]:
    made: list[e.Item] = [e.FunctionCall(id="", call_id=str(at), name="f", arguments='{"a":1}') for at in range(n)]
    values: list[e.Input] = [e.FunctionCallOutput(id="", call_id=str(at), output="1") for at in range(n)]
    return [answer(code(0), *made, of=values)]


def replayed(n: int) -> None:
    """Code that makes other calls than the record has, as often as it may."""
    recorded = Recorded(plan(calls(n))[0].calls)
    for at in range(n):
        recorded.take(Call("", "f", f'{{"a":{at % 2 + 1}}}'))
        recorded.of("f")


async def loaded(data: bytes) -> Blob:
    return Blob(data, "application/json")


def with_blob(data: bytes) -> None:
    async def get(sha256: str) -> Blob:
        return await loaded(data)

    stream, error = Stream("stdout", SHORTENED), Error("E", SHORTENED, [SHORTENED])
    display = DisplayData({}, {"codeact:url": {"application/json": f"blob:{BLOB}", "text/html": f"blob:{BLOB}"}})
    asyncio.run(whole_outputs([stream, error, display], get))
    with suppress(CodeActError):
        asyncio.run(whole_outputs([Stream("stdout", LEFT_OUT)], get))


def texts(text: str) -> object:
    return asyncio.run(whole_text(text[:5_000], lambda sha256: loaded(b"")))


def compared(text: str) -> None:
    for mime in ("text/html", "image/svg+xml", "image/png", "application/json"):
        one, other = ([DisplayData({mime: each}, {})] for each in (text, text + "x"))
        compare(one, other, 1e-9)
    compare([Error("E", text, [text])], [Error("E", text + "x", [text])], 1e-9)
    compare([Stream("stdout", text)], [Stream("stdout", text + "x")], 1e-9)
    compare([Stream("stdout", text)], [Stream("stdout", text + "x")], 1e-9, is_cut=True)


def renewed(given: StoredResponse) -> None:
    Renewal().apply(0, ArchivedResponse(given.response, given.input))


def said(n: int) -> list[e.Input]:
    return [e.InputMessage(id=str(at), role="user", content=[{"type": "input_text", "text": "x"}]) for at in range(n)]


Items = Callable[[int], e.Item]
MADE: dict[str, Items] = {
    "blocks": code,
    "blocks of one id": lambda at: code(0),
    "messages": lambda at: e.Message(id=f"msg_{at}", content=[e.OutputText("x")]),
    "ids without an end": lambda at: e.Message(id="_" * 50 + str(at), content=[]),
}
RECORDS: Inputs = {name: lambda n, make=make: answer(*map(make, range(n))) for name, make in MADE.items()}  # type: ignore[misc]


def taken(data: bytes) -> None:
    """A call of a block that runs again: the same as before, and one that it did not make."""
    text = str(data, "utf-8")
    past = PastCall("f", hashed_arguments(text), "1")
    rerun = Rerun([past, past], side_by_side=True, differs=lambda outputs: None)
    rerun.take(Call("1", "f", text))
    rerun.take(Call("2", "g", text))


TABLE: dict[str, tuple[Reader, Inputs]] = {
    "codeact.verification.plan.plan": (
        refusing(plan),
        {
            "blocks in their own sandboxes": lambda n: [answer(*map(code, range(n)))],
            "answers": lambda n: [answer(code(at)) for at in range(n)],
            "statements approved one by one": steps,
            "calls": calls,
            "blocks that go on with themselves": lambda n: [answer(*(code(0, continues="ci_0") for _ in range(n)))],
        },
    ),
    "codeact.verification.replaying.Recorded": (replayed, {"calls": lambda n: n}),
    "codeact.verification.repeatable.why_not_again": (
        lambda text: why_not_again(text[:40_000]),
        {
            **TEXTS,
            "words": lambda n: "now_" * n,
            "seeds": lambda n: "random_state=1" * n,
            "lines": lambda n: "x\n" * n,
            "imports": lambda n: f"import {'abc,' * n}abc",
        },
    ),
    "codeact.verification.whole.whole_outputs": (
        refusing(with_blob),
        {
            **contents("", ""),
            **{
                f"outputs: {k}": v
                for k, v in contents('[{"output_type":"stream","name":"stdout","text":', "}]").items()
            },
            **{f"data: {k}": v for k, v in contents('[{"output_type":"display_data","data":{"a":', "}}]").items()},
        },
    ),
    "codeact.verification.whole.whole_text": (
        texts,
        {**TEXTS, "nearly shortened": lambda n: "[1 of 1 " * n, "digits": lambda n: "[" + "1," * n},
    ),
    "codeact.verification.comparing.compare": (
        compared,
        {**TEXTS, "digits": lambda n: "1" * n, "numbers": lambda n: "1.5 " * n, "ids": lambda n: "T_12345-" * n},
    ),
    "codeact.tools.values.hashed_arguments": (
        lambda data: hashed_arguments(str(data, "utf-8")),
        contents('{"a":', "}"),
    ),
    "codeact.agent.rerunning.Rerun.take": (taken, contents('{"a":', "}")),
    "codeact.exports.archive_ids.Renewal": (
        refusing(renewed),
        {**RECORDS, "questions": lambda n: answer(of=said(n))},
    ),
}
