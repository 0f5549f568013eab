"""Hints for the model after an error, from the kernel's facts and from earlier errors."""

from pathlib import Path

import pytest

from codeact import Agent
from codeact.environment import Environment
from codeact.events import CodeInterpreterCall
from codeact.models.scripted import ScriptedModel
from codeact.observations.hints import HINT_CHARS, SENTENCES, earlier_errors, hints
from sandbox_pool.clues import Clue
from sandbox_pool.guest import kernel_clues
from sandbox_pool.outputs import Error, ExecutionResult

ERROR = Error("KeyError", "'x'", ["Cell In[1], line 2\n----> 2 d['x']", "KeyError: 'x'"])
FAILED = ExecutionResult(status="error", duration_s=1, error=ERROR, error_kind="runtime")
OFFLINE = Environment()


def hint(clue: Clue, environment: Environment = OFFLINE) -> str:
    (text,) = hints(FAILED, clue, [], environment=environment)
    return text


def failed(item_id: str, error: Error = ERROR, code: str = "d['x']") -> CodeInterpreterCall:
    result = ExecutionResult(status="error", duration_s=1, error=error, error_kind="runtime")
    return CodeInterpreterCall(id=item_id, container_id="c", code=code, result=result)


@pytest.mark.parametrize(
    ("clue", "words"),
    [
        (Clue("column", "pricee", ["price", "date"]), "no column 'pricee'. The columns are: 'price', 'date'."),
        (Clue("label", "c", ["a", "b"]), "The labels are: 'a', 'b'."),
        (Clue("key", "x", ["a"], 12), "The keys are: 'a' and 12 more."),
        (Clue("key", "x"), "The dictionary is empty."),
        (Clue("index", "", ["3"]), "It has 3 elements"),
        (
            Clue("attribute", "sqroot", ["sqrt"], place="math"),
            "math has no 'sqroot'. Similar names that it has: 'sqrt'.",
        ),
        (Clue("name", "totel", ["total"]), "Similar names that are defined: 'total'."),
        (Clue("file", "a.csv", ["b.csv"], place="."), "no 'a.csv' in the working directory. It holds: 'b.csv'."),
        (Clue("file", "a.csv", [], place="data"), "no 'a.csv' in 'data'. It holds: nothing."),
        (Clue("module", "scipyy", ["scipy"]), "there is no network: use one of these instead. Installed: 'scipy'."),
        (Clue("network", "x.example"), "This sandbox has no network. 'x.example' cannot be reached."),
    ],
)
def test_facts_become_sentences(clue: Clue, words: str) -> None:
    assert words in hint(clue)


def test_every_kind_of_fact_has_its_words() -> None:
    source = Path(kernel_clues.__file__).read_text()
    assert all(f'"{about}"' in source for about in SENTENCES)


def test_what_to_do_without_a_network_depends_on_the_network() -> None:
    internal = Environment(network="internal", allowed_hosts=("api.example.com",))
    assert "reaches only api.example.com." in hint(Clue("network", "x.example"), internal)
    assert "Check the address" in hint(Clue("network"), Environment(network="open"))
    assert "pip install" in hint(Clue("module", "x"), Environment(network="open"))
    assert "numpy, scipy" in hint(Clue("module", "x", ["y"]), Environment(packages=("numpy", "scipy")))


def test_a_clue_of_an_unknown_kind_and_a_success_say_nothing() -> None:
    assert hints(FAILED, Clue("nonsense"), [], environment=OFFLINE) == []
    assert hints(ExecutionResult(status="ok", duration_s=1), Clue("key"), [], environment=OFFLINE) == []
    assert hints(FAILED, None, [], environment=OFFLINE) == []


def test_facts_from_a_hostile_kernel_stay_short() -> None:
    clue = Clue("key", "n" * 10_000, ["k" * 10_000] * 1000, 10**9).bounded()
    assert len(hint(clue)) <= HINT_CHARS


def test_the_same_error_again_is_told_with_what_was_tried() -> None:
    other = Error("KeyError", "'y'", [])
    items = [failed("a"), failed("b", other), failed("c", code="d.get('x')['x']")]
    earlier = earlier_errors(items, ERROR)
    assert [call.id for call in earlier] == ["a", "c"]
    (text,) = hints(FAILED, None, earlier, environment=OFFLINE)
    assert "The same error came 2 times before in this conversation." in text
    assert "These lines raised it:\n- d['x']" in text
    assert earlier_errors(items, None) == []


def test_the_model_reads_the_hint_after_the_traceback(tmp_path: Path) -> None:
    block = "<execute>\nd = {{'alpha': 1}}\nd['{}']\n</execute>\n"
    model = ScriptedModel([block.format("alpa"), block.format("alpa"), "Done."])
    with Agent(model, sandbox="process", data_dir=tmp_path) as agent:
        agent.run("go")
    first, second = (str(messages[-1].content) for messages in model.calls[1:])
    assert first.endswith("KeyError: 'alpa'\nhint:\nThere is no key 'alpa'. The keys are: 'alpha'.")
    assert "same error" not in first
    assert "The same error came once before in this conversation." in second
    assert "These lines raised it:\n- d['alpa']" in second
