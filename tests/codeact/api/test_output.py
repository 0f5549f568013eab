"""Answers of an agent as instances of pydantic models."""

from pathlib import Path

import pytest
from pydantic import BaseModel, field_validator

from codeact import Agent
from codeact.errors import CodeActError
from codeact.models.scripted import ScriptedModel

BLOCK = "I count.\n<execute>\nprint(len('Bonn'))\n</execute>"


class City(BaseModel):
    name: str
    letters: int

    @field_validator("name")
    @classmethod
    def _is_capital(cls, name: str) -> str:
        if name.islower():
            raise ValueError("no capital letter")
        return name


def test_an_answer_comes_back_as_the_model_that_was_asked_for(tmp_path: Path) -> None:
    said = [
        BLOCK,
        '{"name": "Bonn"}',
        '```json\n{"name": "Bonn", "letters": 4}\n```',
        "Plain.",
        '{"name": "bonn", "letters": 4}',
    ]
    model = ScriptedModel(said)
    with Agent(model, sandbox="process", data_dir=tmp_path, pool_min=1) as agent:
        result = agent.run("which city?", output=City)
        assert result.parsed == City(name="Bonn", letters=4)
        assert result.output_text == '{"name": "Bonn", "letters": 4}'
        assert "'letters' is a required property" in str(model.calls[2][-1].content)
        assert agent.run("and?").parsed is None
        with pytest.raises(CodeActError, match="no City") as caught:
            agent.run("again", output=City)
        assert caught.value.code == "invalid_output"
