"""The calls of a block that runs again are matched with those that it made before."""

from collections.abc import Sequence

from codeact.agent.rerunning import PastCall, Rerun
from codeact.tools.values import hashed_arguments
from sandbox_pool.calls import Call
from sandbox_pool.outputs import Output


def past(name: str, arguments: str, value: str | None = "1", waits_as: str | None = None) -> PastCall:
    return PastCall(name, hashed_arguments(arguments), value, waits_as=waits_as)


def same(outputs: Sequence[Output]) -> str | None:
    return None


def rerun(*calls: PastCall, side_by_side: bool = False) -> Rerun:
    return Rerun(calls, side_by_side=side_by_side, differs=same)


def test_the_same_calls_in_the_same_order_get_their_results() -> None:
    block = rerun(past("a", '{"x":1,"y":2}', "10"), past("b", "{}", "20"), past("c", "{}", waits_as="call_1"))
    first = block.take(Call("1", "a", '{"y": 2, "x": 1}'))
    assert first is not None
    assert first.value == "10"
    assert not block.is_complete
    assert block.take(Call("2", "b", "{}")) is not None
    third = Call("3", "c", "{}")
    assert block.take(third) is not None
    assert block.is_complete
    assert block.waiting == {"call_1": third}


def test_other_arguments_another_function_or_another_order_stop_it() -> None:
    for name, arguments in [("a", '{"x": 2}'), ("c", "{}"), ("b", "{}")]:
        block = rerun(past("a", '{"x": 1}'), past("b", "{}", waits_as="call_1"))
        assert block.take(Call("1", name, arguments)) is None
        assert block.problem is not None
        assert f"it called {name}({arguments})" in block.problem
        assert block.take(Call("2", "a", '{"x": 1}')) is None  # Nothing gets a result after that.
        assert not block.is_complete


def test_calls_side_by_side_have_no_order_and_are_complete_together() -> None:
    block = rerun(past("a", "1"), past("a", "2", "two"), past("b", "{}", waits_as="mcpr_1"), side_by_side=True)
    assert block.take(Call("1", "b", "{}")) is not None
    second = block.take(Call("2", "a", "2"))
    assert second is not None
    assert second.value == "two"
    assert not block.is_complete
    assert block.take(Call("3", "a", "1")) is not None
    assert block.is_complete
    assert list(block.waiting) == ["mcpr_1"]


def test_code_that_ends_or_hangs_before_it_waits_again_has_gone_another_way() -> None:
    for note in (Rerun.ended, lambda block: block.is_late(5.0)):
        block = rerun(past("a", "{}"))
        note(block)
        assert block.problem is not None
        assert "a()" in block.problem
