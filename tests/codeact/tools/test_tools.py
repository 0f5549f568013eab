"""Functions outside of the sandbox as Python: from schemas to code and prompt text."""

import json
import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeact.errors import InvalidRequest
from codeact.tools.function import NAME_CHARS, Function, FunctionError, identifier
from codeact.tools.toolbox import Toolbox, functions_of, value_of

WEATHER = {
    "type": "function",
    "name": "get-weather",
    "description": "The weather of a place.",
    "parameters": {
        "type": "object",
        "properties": {
            "unit": {"type": "string", "enum": ["c", "f"], "description": "Celsius or Fahrenheit"},
            "city": {"type": "string"},
            "from": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "days": {"type": "array", "items": {"type": "number"}},
        },
        "required": ["city"],
    },
}


def defined(functions: list[Function], monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """The user's namespace after running the source, and the calls that its functions make."""
    calls: list[tuple[str, Any]] = []
    bridge = types.ModuleType("codeact_calls")
    bridge.call = lambda name, arguments: calls.append((name, arguments))  # type: ignore[attr-defined]
    bridge.CallError = RuntimeError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codeact_calls", bridge)
    monkeypatch.delitem(sys.modules, "codeact_functions", raising=False)
    space: dict[str, Any] = {}
    shell = types.SimpleNamespace(user_ns=space)
    exec(Toolbox(functions).source, {"get_ipython": lambda: shell})
    return space, calls


def test_a_function_has_a_signature_and_a_docstring() -> None:
    (weather,) = functions_of([WEATHER, {"type": "code_interpreter"}])
    assert weather.path == "get_weather"
    assert weather.signature() == (
        "get_weather(city: str, unit: Literal['c', 'f'] = ..., from_: int | None = ..., days: list[float] = ...)"
    )
    assert weather.docstring() == "The weather of a place.\nunit: Celsius or Fahrenheit"
    assert "get_weather(city: str" in Toolbox([weather]).described()


def test_a_call_carries_the_schemas_names_and_only_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    space, calls = defined(functions_of([WEATHER]), monkeypatch)
    space["get_weather"]("Bern", from_=None)
    assert calls == [("get-weather", {"city": "Bern", "from": None})]
    assert space["get_weather"].__doc__.startswith("The weather")
    with pytest.raises(TypeError, match="city"):
        space["get_weather"]()


def test_functions_of_a_server_are_grouped_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    space, calls = defined([Function("create-issue", "Makes one.", schema, server="git-hub")], monkeypatch)
    space["git_hub"].create_issue(title="x")
    assert calls == [("git_hub.create_issue", {"title": "x"})]


def test_the_next_requests_functions_take_the_place_of_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    space, _ = defined(functions_of([WEATHER]), monkeypatch)
    other = Function("other", "", {"type": "object"})
    space["mine"] = space["get_weather"]
    exec(Toolbox([other]).source, {"get_ipython": lambda: types.SimpleNamespace(user_ns=space)})
    assert "get_weather" not in space
    assert {"other", "mine"} <= set(space)


@pytest.mark.parametrize(
    ("tool", "param", "words"),
    [
        ({"name": "a b"}, "tools[0].name", "letters"),
        ({"name": "print"}, "tools[0].name", "hide Python's own"),
        ({}, "tools[0].name", "letters"),
        ({"name": "f", "description": 1}, "tools[0].description", "text"),
        ({"name": "f", "parameters": []}, "tools[0].parameters", "object"),
        ({"name": "f", "parameters": {"type": "string"}}, "tools[0].parameters", "object"),
        ({"name": "f", "parameters": {"properties": [1]}}, "tools[0].parameters.properties", "object"),
        ({"name": "f", "parameters": {"properties": {}, "required": ["x"]}}, "tools[0].parameters.required", "names"),
        (
            {"name": "f", "parameters": {"properties": {"a-b": {}, "a_b": {}}}},
            "tools[0].parameters.properties",
            "same name",
        ),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(tool: dict[str, Any], param: str, words: str) -> None:
    if tool.get("parameters") == []:
        tool = {**tool, "parameters": [1]}
    with pytest.raises(InvalidRequest, match=words) as refused:
        functions_of([{"type": "function", **tool}])
    assert refused.value.param == param


def test_names_that_clash_in_python_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="same name in Python, a_b"):
        Toolbox(functions_of([{"type": "function", "name": "a-b"}, {"type": "function", "name": "a_b"}]))
    with pytest.raises(InvalidRequest, match="same name"):
        Toolbox([Function("x", "", {}, server="github"), Function("github", "", {})])


names = st.text(max_size=8) | st.sampled_from(["from", "a-b", "self", "__import__", "'", "\n", '"""'])
schemas = st.recursive(
    st.dictionaries(
        st.sampled_from(["type", "enum", "description", "const", "default", "title", "$ref", "format", "x"]),
        names | st.lists(names, max_size=3),
    ),
    lambda inner: (
        st.dictionaries(st.sampled_from(["anyOf", "items", "type", "default"]), st.lists(inner, max_size=3) | inner)
        | st.builds(lambda found: {"type": "object", "properties": found}, st.dictionaries(names, inner, max_size=3))
    ),
    max_leaves=6,
)


@given(properties=st.dictionaries(names, schemas, max_size=4), description=names, value=schemas)
def test_no_schema_makes_code_that_does_not_run(properties: dict[str, Any], description: str, value: Any) -> None:
    tool = {"type": "function", "name": "f", "description": description, "parameters": {"properties": properties}}
    tool["output_schema"] = value
    try:
        source = Toolbox(functions_of([tool])).source
    except InvalidRequest:
        return
    compile(source, "<source>", "exec")
    inner = source.partition("exec(compile(")[2].partition(", '<codeact_functions>'")[0]
    module = eval(inner).replace("from codeact_calls import CallError, call as _call", "CallError = _call = None")
    exec(compile(module, "<functions>", "exec"), {})


def test_a_name_is_as_short_in_python_as_it_may_be_outside() -> None:
    for name in ("\ufdfa" * 100, "a" * 1_000, "\u0f73" * 128, "\u1e69" * 128):
        assert len(identifier(name)) <= NAME_CHARS + 1
        assert identifier(name).isidentifier()
    assert identifier("caf\u0065\u0301-x") == "caf\u00e9_x"


def test_too_many_functions_are_refused_before_all_are_read() -> None:
    broken = {"type": "function", "name": "no name"}
    with pytest.raises(InvalidRequest, match="more functions than 256"):
        functions_of([*({"type": "function", "name": f"f{at}"} for at in range(257)), broken])


def test_functions_with_too_many_arguments_together_are_refused() -> None:
    parameters = {"type": "object", "properties": {f"a{at}": {} for at in range(100)}}
    tools = [{"type": "function", "name": f"f{at}", "parameters": parameters} for at in range(26)]
    with pytest.raises(InvalidRequest, match="have more than 2,500 arguments"):
        functions_of(tools)
    assert len(functions_of(tools[:25])) == 25


def test_what_a_client_answers_is_json_or_text() -> None:
    assert json.loads(value_of('{"a": 1}')) == {"a": 1}
    assert json.loads(value_of("sunny")) == "sunny"
    assert json.loads(value_of("NaN")) == "NaN"
    with pytest.raises(FunctionError, match="over 4,000,000 bytes"):
        value_of("x" * 4_000_001)


def test_only_signatures_are_told_of_many_functions() -> None:
    many = [Function(f"f{number}", "Does something. " * 30, {}) for number in range(100)]
    described = Toolbox(many).described()
    assert "f99()" in described
    assert len(described) < 13_000
    assert "help(name)" in described


def test_many_functions_are_named_by_group_and_can_be_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = {"type": "object", "properties": {f"argument_{number}": {"type": "string"} for number in range(9)}}
    many = [
        Function(f"make_{number}", f"Makes part {number}.\nAt once.", schema, server="shop") for number in range(90)
    ]
    many += [Function("readMail", "Opens the post.", schema)]
    described = Toolbox(many).described()
    assert len(described) < 3_000
    assert all(f"shop.make_{number}" in described for number in range(90))
    assert "Plain: readMail" in described
    assert "search_tools(" in described
    space, _ = defined(many, monkeypatch)
    found = space["search_tools"]("open MAIL")
    assert found.splitlines() == [many[-1].signature(), "    Opens the post."]
    assert repr(found) == found
    assert space["search_tools"]("part 77").startswith("shop.make_77(")
    assert "No function" in space["search_tools"]("zzz")


def test_the_name_of_the_search_stays_a_functions_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [Function(f"f{number}", "Does something. " * 30, {}) for number in range(100)]
    space, calls = defined([*many, Function("search_tools", "Mine.", {})], monkeypatch)
    space["search_tools"]()
    assert calls == [("search_tools", {})]


POINT = {"type": "object", "properties": {"x": {"type": "integer"}, "from": {"type": "string"}}, "required": ["x"]}


def test_objects_are_types_that_code_can_make(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {
        "type": "object",
        "properties": {
            "start": {"$ref": "#/$defs/Point"},
            "options": {"type": "object", "properties": {"fast": {"type": "boolean", "default": True}}},
            "more": {"type": "object", "additionalProperties": {"type": "number"}, "default": {}},
            "limit": {"type": "integer", "default": 10},
        },
        "required": ["start"],
        "$defs": {"Point": POINT},
    }
    tool = {"type": "function", "name": "go", "parameters": parameters, "output_schema": POINT}
    (go,) = functions_of([tool])
    described = Toolbox([go]).described()
    assert (
        "go(start: Point, options: Options = ..., more: dict[str, float] = {}, limit: int = 10) -> GoResult"
        in described
    )
    assert "Point = TypedDict('Point', {'x': int, 'from': NotRequired[str]})" in described
    space, calls = defined([go], monkeypatch)
    space["go"](space["Point"](x=1), limit=3)
    assert calls == [("go", {"start": {"x": 1}, "limit": 3})]


def test_a_type_does_not_take_a_users_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = {"type": "function", "name": "go", "parameters": {"type": "object", "properties": {"point": POINT}}}
    space, _ = defined(functions_of([tool]), monkeypatch)
    assert space["Point"].__name__ == "Point"
    space["Point"] = "mine"
    exec(Toolbox(functions_of([tool])).source, {"get_ipython": lambda: types.SimpleNamespace(user_ns=space)})
    assert space["Point"] == "mine"


def test_schemas_that_hold_themselves_come_to_an_end() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "other": {"$ref": "#/$defs/Pair"}}}
    pair = {"type": "object", "properties": {side: {"$ref": "#/$defs/Node"} for side in ("left", "right")}}
    loop = {"$ref": "#/$defs/Loop"}
    wide = {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Wide"}}] * 30}
    parameters = {
        "type": "object",
        "properties": {"node": {"$ref": "#/$defs/Node"}, "loop": loop, "wide": {"$ref": "#/$defs/Wide"}},
        "$defs": {"Node": node, "Pair": pair, "Loop": loop, "Wide": wide},
    }
    described = Toolbox([Function(name, "", parameters) for name in ("f", "g")]).described()
    assert "Node = TypedDict('Node', {'next': NotRequired[Node], 'other': NotRequired[Pair]})" in described
    assert "loop: Any" in described
    assert len(described) < 5_000
