"""What must run again to verify an answer, found in its thread."""

import pytest

from codeact import events as e
from codeact.ids import new_id
from codeact.store.records import StoredResponse
from codeact.verification.errors import NotVerifiable
from codeact.verification.plan import MOST_CODE_CHARS, MOST_SANDBOXES, plan
from sandbox_pool.outputs import ExecutionResult

OK = ExecutionResult(status="ok", duration_s=1.0)


def block(code: str, container: str = "cntr_1", **more: object) -> e.CodeInterpreterCall:
    given = {"result": OK, "status": "completed"} | more
    return e.CodeInterpreterCall(id=new_id("ci"), container_id=container, code=code, **given)  # type: ignore[arg-type]


def answer(*items: e.Item, notice: str | None = None) -> StoredResponse:
    notices = [e.Notice(notice, "")] if notice is not None else []
    return StoredResponse(
        e.Response(id=new_id("resp"), created_at=1, model="m", output=list(items), notices=notices), []
    )


def codes(*thread: StoredResponse) -> list[tuple[str, int]]:
    return [("|".join(part.code for part in each.parts), each.kernel) for each in plan(thread)]


def test_blocks_of_a_kernel_that_was_lost_are_left_out() -> None:
    thread = answer(block("a")), answer(block("b", "cntr_2"), notice="kernel_replaced"), answer(block("c", "cntr_2"))
    assert codes(*thread) == [("b", 1), ("c", 1)]


def test_a_restored_kernel_goes_on_with_the_blocks_before() -> None:
    thread = answer(block("a")), answer(block("b", "cntr_2"), notice="kernel_restored"), answer(block("c", "cntr_2"))
    assert codes(*thread) == [("a", 0), ("b", 0), ("c", 0)]
    died = answer(block("b", "cntr_2"), block("c", "cntr_3"), notice="kernel_restored")
    assert codes(answer(block("a")), died) == [("a", 0), ("b", 0), ("c", 1)]


def test_a_block_that_ran_again_in_another_sandbox_goes_on_with_the_blocks_before() -> None:
    waits = block("b", result=None, waits_for=["call_1"])
    again = answer(block("", "cntr_2", continues=waits.id), block("c", "cntr_2"), notice="kernel_restored")
    assert codes(answer(block("a"), waits), again) == [("a", 0), ("b", 0), ("c", 0)]
    # Code that had not begun when its kernel was lost does not go on with the lost one.
    asked = block("b", result=None, waits_for=["apr_1"])
    request = e.CodeApprovalRequest(id="apr_1", code="b")
    later = answer(block("", "cntr_2", continues=asked.id), notice="kernel_replaced")
    assert codes(answer(block("a"), asked, request), later) == [("b", 1)]


def test_code_runs_as_it_was_approved() -> None:
    request = e.CodeApprovalRequest(id="apr_1", code="a")
    first = block("a", result=None, waits_for=["apr_1"])
    for code, ran in (("", "a"), ("changed", "changed")):
        assert codes(answer(first, request), answer(block(code, continues=first.id))) == [(ran, 0)]
    with pytest.raises(NotVerifiable) as refused:
        codes(answer(first, request))
    assert refused.value.code == "nothing_to_verify"
    assert codes(answer(first, request), answer(block("b"))) == [("b", 0)]


def test_the_rest_of_a_block_runs_after_the_statements_before_it() -> None:
    request = e.CodeApprovalRequest(id="apr_1", code="rest\n")
    first = block("begin\nrest\n", result=None, ran="begin\n", waits_for=["apr_1"], observation="Observation: ok")
    assert codes(answer(first, request)) == [("begin\n", 0)]
    assert codes(answer(first, request), answer(block("", continues=first.id))) == [("begin\n|rest\n", 0)]
    assert codes(answer(first, request), answer(block("other\n", continues=first.id))) == [("begin\n|other\n", 0)]


def test_calls_have_what_their_code_got() -> None:
    call = e.FunctionCall(id="fc_1", call_id="call_1", name="ask", arguments='{"a": 1, "b": 2}')
    waits = block("x", result=None, waits_for=["call_1"])
    refused = e.RefusedCall("pay", "0" * 64, "rejected")
    host = e.McpCall(
        id="mcp_1", server_label="host", name="get", arguments="{}", error=e.McpError.of("no"), status="failed"
    )
    after = answer(block("", continues=waits.id, refused=[refused]), host)
    after.input.append(e.FunctionCallOutput(id="fco_1", call_id="call_1", output="7"))
    (found,) = plan([answer(waits, call), after])
    assert [(each.name, each.value, each.error, each.is_known) for each in found.calls] == [
        ("ask", "7", None, True),
        ("pay", None, "rejected", True),
        ("get", None, "no", True),
    ]
    with pytest.raises(NotVerifiable) as unfinished:
        plan([answer(waits, call)])
    assert unfinished.value.code == "block_unfinished"


def test_code_that_is_approved_again_and_again_does_not_grow_without_end() -> None:
    request = e.CodeApprovalRequest(id="apr_1", code="x" * 60_000)
    first = block("begin", result=None, ran="begin", waits_for=["apr_1"])
    again = [block("", result=None, waits_for=["apr_1"], continues=first.id) for _ in range(50_000)]
    with pytest.raises(NotVerifiable) as refused:
        plan([answer(first, request, *again)])
    assert refused.value.code == "record_too_large"


def test_an_answer_of_too_many_sandboxes_is_refused_by_name() -> None:
    several = [block("a", f"cntr_{number}") for number in range(MOST_SANDBOXES)]
    assert len(codes(answer(*several))) == MOST_SANDBOXES
    with pytest.raises(NotVerifiable) as refused:
        codes(answer(*several, block("a", "cntr_more")))
    assert refused.value.code == "too_many_sandboxes"


def test_the_code_of_a_block_of_many_statements_is_bounded() -> None:
    request = e.CodeApprovalRequest(id="apr_1", code="x")
    first = block("a", result=None, ran="a" * MOST_CODE_CHARS, waits_for=["apr_1"])
    with pytest.raises(NotVerifiable) as refused:
        codes(answer(first, request), answer(block("b", continues=first.id)))
    assert refused.value.code == "record_too_large"
