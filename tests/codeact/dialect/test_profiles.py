"""Which dialect a model gets, from its name and the settings."""

import pytest

from codeact.dialect import dialect_for, learn_no_tools, profile_of
from codeact.errors import ConfigurationError, InvalidRequest
from codeact.models.demo.model import DemoModel
from codeact.models.litellm.client import LiteLLMModel
from codeact.models.scripted import ScriptedModel
from codeact.settings import Settings


@pytest.mark.parametrize(
    ("name", "dialect", "sees"),
    [
        ("openai/gpt-4.1-mini", "tool_call", True),
        ("gpt-5", "tool_call", True),
        ("openrouter/anthropic/claude-sonnet-4-5", "tool_call", True),
        ("bedrock/us.anthropic.claude-sonnet-4-5-v1:0", "tool_call", True),
        ("gemini/gemini-2.5-flash", "tool_call", True),
        ("deepseek/deepseek-chat", "tool_call", False),
        ("openai/o3", "tool_call", True),
        ("ollama_chat/qwen2.5-vl:7b", "tags", True),
        ("ollama_chat/qwen3", "tags", False),
        ("CodeActAgent-Mistral-7b-v0.1", "tags", False),
        ("openai/scripted", "tags", False),
        ("o100/anything", "tags", False),
    ],
)
def test_a_name_says_how_its_model_acts(name: str, dialect: str, sees: bool) -> None:
    assert profile_of(name).dialect == dialect
    assert profile_of(name).sees == sees


@pytest.mark.parametrize(
    ("name", "window_tokens"),
    [
        ("CodeActAgent-Mistral-7b-v0.1", 32_768),
        ("xingyaoww/CodeActAgent-Llama-2-7b", 4_096),
        ("ollama_chat/xingyaow/codeact-agent-mistral", 32_768),
        ("gpt-5", None),
    ],
)
def test_a_profile_knows_the_window_that_old_servers_do_not_tell(name: str, window_tokens: int | None) -> None:
    assert profile_of(name).window_tokens == window_tokens


def test_what_was_asked_for_comes_before_what_is_preferred_and_that_before_the_profile() -> None:
    model = ScriptedModel([], name="openai/gpt-4.1")
    assert dialect_for(model).name == "tool_call"
    assert dialect_for(model, preferred="tags").name == "tags"
    assert dialect_for(model, "freeform", preferred="tags").name == "freeform"


def test_a_model_that_cannot_have_it_keeps_tags_unless_it_was_demanded() -> None:
    assert dialect_for(DemoModel(), preferred="freeform").name == "tags"
    with pytest.raises(InvalidRequest, match=r"'demo' cannot act by 'freeform'"):
        dialect_for(DemoModel(), "freeform")
    hosted = LiteLLMModel("gemini/gemini-2.5-flash")
    assert dialect_for(hosted, preferred="freeform").name == "tool_call"
    with pytest.raises(InvalidRequest, match=r"cannot act by 'freeform'.*'tags' or 'tool_call'") as error:
        dialect_for(hosted, "freeform")
    assert error.value.param == "codeact:dialect"


def test_a_server_without_custom_tools_gets_functions_from_then_on() -> None:
    model = ScriptedModel([], name="openai/gpt-5")
    assert dialect_for(model).name == "freeform"
    assert learn_no_tools(model, "Invalid value: 'custom'. Supported values are: 'function'.")
    assert dialect_for(model).name == "tool_call"
    assert learn_no_tools(model, "This model does not support tools.")
    assert dialect_for(model).name == "tags"


def test_a_configured_model_may_name_its_dialect() -> None:
    settings = Settings.load(models="openai/gpt-4.1;dialect=tags, ollama_chat/qwen3 ; dialect = tool_call", model=None)
    assert settings.served_models == ("openai/gpt-4.1", "ollama_chat/qwen3")
    assert [options.dialect for options in settings.model_options.values()] == ["tags", "tool_call"]
    for wrong in ("x;dialect=signs", "x;temperature=1", "x;"):
        with pytest.raises(ConfigurationError, match="tags or tool_call or freeform"):
            Settings.load(models=wrong, model=None)
