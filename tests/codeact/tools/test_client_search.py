"""What a client's search for tools has found becomes functions, within the limits of a request."""

from typing import Any

import pytest

from codeact.errors import InvalidRequest
from codeact.events import FunctionCallOutput, ToolSearchOutput
from codeact.tools.client_search import loaded_functions, names_of, value_for_code, with_loaded
from codeact.tools.toolbox import MAX_FUNCTIONS, Toolbox, functions_of


def tool(name: str, description: str = "", properties: Any = None) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties or {}}
    return {"type": "function", "name": name, "description": description, "parameters": parameters}


def found(*tools: Any) -> ToolSearchOutput:
    return ToolSearchOutput(id="tso_1", call_id="call_1", tools=list(tools))


def test_the_newest_definition_counts_and_so_many_as_a_request_may_have() -> None:
    loaded = loaded_functions([found(tool("a", "old"), tool("b")), found(tool("a", "new"))])
    assert [(one.path, one.description) for one in loaded] == [("b", ""), ("a", "new")]
    many = [found(*(tool(f"f{batch}_{n}") for n in range(200))) for batch in range(3)]
    loaded = loaded_functions(many)
    assert len(loaded) == MAX_FUNCTIONS
    assert {one.path[:2] for one in loaded} == {"f1", "f2"}
    wide = [found(tool(f"g{n}", properties={f"x{m}": {} for m in range(100)})) for n in range(40)]
    assert len(loaded_functions(wide)) == 25


def test_definitions_of_an_imported_conversation_that_are_not_valid_are_left_out() -> None:
    nonsense: list[Any] = [1, None, {}, {"type": "shell"}, {"type": "function", "name": 1}, tool("print")]
    nonsense += [{"type": "namespace", "name": "crm", "tools": 1}, {"type": "custom", "name": "c", "format": 1}]
    assert [one.path for one in loaded_functions([found(*nonsense, tool("fine"))])] == ["fine"]
    assert names_of(nonsense[:2]) == "It found no functions."


def test_a_name_that_is_taken_is_refused_where_it_is_new_and_left_out_in_a_history() -> None:
    toolbox = Toolbox(functions_of([{"type": "shell"}, tool("mine", "of the request")]))
    for taken in (tool("shell"), {"type": "namespace", "name": "mine", "tools": [tool("x")]}):
        loaded = loaded_functions([found(taken)])
        with pytest.raises(InvalidRequest, match="has that name") as refused:
            with_loaded(toolbox, loaded, strict=True)
        assert refused.value.param == "input"
        assert with_loaded(toolbox, loaded).functions == toolbox.functions
    again = with_loaded(toolbox, loaded_functions([found(tool("mine", "found"), tool("more"))]), strict=True)
    assert [(one.path, one.description) for one in again.functions][1:] == [("mine", "of the request"), ("more", "")]


def test_code_gets_the_descriptions() -> None:
    value = value_for_code(found(tool("find", "Finds.", {"q": {"type": "string"}})))
    assert value.startswith('{"text":"find(q: str')
    assert value_for_code(FunctionCallOutput(id="fco_1", call_id="c", output="no JSON")) == '"no JSON"'
    assert value_for_code(found()) == '{"text":"","source":""}'
