"""Functions of a program, called by code in a real sandbox: arguments, types, builtins of Python, a search."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeact import Agent, Tool
from codeact import events as e
from codeact.models.scripted import ScriptedModel


@dataclass
class Point:
    x: int
    y: int = 0


def moved(point: Point, /, *by: int, axis: str = "x", **notes: str) -> Point:
    """Moves a point along an axis."""
    return Point(point.x + sum(by), point.y) if axis == "x" else Point(point.x, point.y + sum(by))


CODE = """<execute>
print(moved(Point(x=1), 2, 3, why="a test"), moved({"x": 1}, 1, axis="y"), double(4), max(double(1), 7))
help(moved)
print(search_tools("along axis"))
try:
    moved({"x": "left"})
except CallError as error:
    print(error)
</execute>
"""


def test_code_calls_functions_as_python_has_them(tmp_path: Path) -> None:
    extra = [Tool(lambda: None, f"spare_{number}", "Does nothing of use. " * 40) for number in range(20)]
    tools: list[Any] = [moved, Tool(lambda n: 2 * n, "double"), max, *extra]
    with Agent(ScriptedModel([CODE, "Done."]), tools=tools, sandbox="process", data_dir=tmp_path) as agent:
        response = agent.run("go")
    call = next(item for item in response.output if isinstance(item, e.CodeInterpreterCall))
    printed = "".join(output.logs for output in call.outputs or [] if isinstance(output, e.LogsOutput))
    assert printed.startswith("{'x': 6, 'y': 0} {'x': 1, 'y': 1} 8 7\n")
    assert "*by: 'int', axis: 'str' = 'x', **notes: 'str'" in printed
    assert "moved(point: Point, /, *by: int, axis: str = 'x', **notes: str) -> Point2" not in printed
    assert "moved(point: Point, /, *by: int, axis: str = 'x', **notes: str) -> Point\n    Moves a point" in printed
    assert "moved(): point.x: " in printed
