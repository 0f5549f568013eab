"""Parameters that only some models accept."""

from typing import Any

import pytest

from codeact.errors import InvalidRequest
from codeact.models.openai_compatible.client import DirectModel
from codeact.models.scripted import ScriptedModel
from codeact.runs.model_parameters import for_model
from codeact.runs.new_run import NewRun


@pytest.mark.parametrize("given", [{"top_k": 0}, {"seed": 0}, {"stop": ("x",)}], ids=str)
def test_what_a_model_does_not_take_is_refused_or_dropped_by_name(given: dict[str, Any]) -> None:
    new_run, (name,) = NewRun(owner="me", **given), given
    with pytest.raises(InvalidRequest) as refused:
        for_model(new_run, ScriptedModel([]), drop=False)
    assert (refused.value.param, refused.value.code) == (name, "unsupported_parameter")
    dropped = for_model(new_run, ScriptedModel([]), drop=True)
    assert getattr(dropped, name) == getattr(NewRun(owner="me"), name)
    assert f"'{name}'" in dropped.notices[0].message


@pytest.mark.parametrize(
    ("host", "takes"), [("api.openai.com", False), ("eu.api.openai.com", False), ("openai.example.org", True)]
)
def test_top_k_goes_to_other_servers_than_those_of_openai(host: str, takes: bool) -> None:
    model = DirectModel("m", model="m", api_base=f"https://{host}/v1")
    assert ("top_k" in model.parameters) is takes
