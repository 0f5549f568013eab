"""Which model a name selects; pure."""

import pytest

from codeact.errors import ModelNotFound
from codeact.models.registry import ModelRegistry
from codeact.models.scripted import ScriptedModel

ONE, TWO = ScriptedModel([], name="one"), ScriptedModel([], name="two")


@pytest.mark.parametrize("name", [None, "", "codeact", "one"])
def test_who_names_none_gets_the_first(name: str | None) -> None:
    assert ModelRegistry([ONE, TWO]).get(name) is ONE


def test_a_model_is_had_by_its_name_and_of_two_the_first() -> None:
    registry = ModelRegistry([ONE, TWO, ScriptedModel([], name="two")])
    assert registry.names == ["one", "two"]
    assert registry.get("two") is TWO


def test_a_name_that_is_not_served_is_refused_with_those_that_are() -> None:
    with pytest.raises(ModelNotFound, match=r"'gpt-9' is not served here\. Ask for 'one', 'two', or") as caught:
        ModelRegistry([ONE, TWO]).get("gpt-9")
    assert caught.value.param == "model"


def test_of_very_many_models_the_refusal_names_a_few() -> None:
    registry = ModelRegistry([ScriptedModel([], name=f"model-{n}") for n in range(50)])
    with pytest.raises(ModelNotFound, match="'model-19' and 30 more") as caught:
        registry.get("x" * 10_000)
    assert len(str(caught.value)) < 1000


def test_the_summary_names_the_default_and_counts_the_others() -> None:
    assert ModelRegistry([ONE]).summary == "one"
    assert ModelRegistry([ONE, TWO]).summary == "one and 1 more"


def test_an_alias_names_a_model_or_the_default_and_a_models_own_name_wins() -> None:
    registry = ModelRegistry([ONE, TWO])
    registry.add_aliases({"gpt-4o": "", "gpt-4o-mini": "two", "one": "two", "lost": "gone"})
    assert [registry.get(name) for name in ("gpt-4o", "codeact", "gpt-4o-mini", "one")] == [ONE, ONE, TWO, ONE]
    assert registry.aliases == ["codeact", "gpt-4o", "gpt-4o-mini", "lost"]
    with pytest.raises(ModelNotFound, match="'gone' is not served"):
        registry.get("lost")
