"""Imports point downwards only, between layers and between rooms.

A room is a folder of modules; a module next to folders is a room of its own. Rooms import each other in one direction:
following the imports never leads back to the start. `codeact/server` and `codeact/dashboard` are links to the folders
server/ and streamlit_app/.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from sandbox_pool.backends.shared.kernel_process import KERNEL

ROOT = Path(__file__).parent.parent
FOLDERS = {"server": "codeact.server", "streamlit_app": "codeact.dashboard"}
"""Top-level folders that are imported under another name."""

SANDBOX_POOL, CODEACT, SERVER, DASHBOARD, CLI = [
    "sandbox_pool",
    "codeact",
    "codeact.server",
    "codeact.dashboard",
    "codeact.cli",
]
ABOVE = {
    SANDBOX_POOL: {CODEACT, SERVER, DASHBOARD, CLI},
    CODEACT: {SERVER, DASHBOARD, CLI},
    SERVER: {DASHBOARD, CLI},
    # The command line puts the layers together. The dashboard may use what the command line is made of.
    DASHBOARD: {SERVER},
    CLI: {DASHBOARD},
}
FOREIGN = {
    SANDBOX_POOL: {"starlette", "litellm", "beanie", "pymongo", "streamlit"},
    CODEACT: {"starlette", "uvicorn", "docker", "streamlit"},
    SERVER: {"streamlit", "docker"},
    DASHBOARD: {"starlette", "uvicorn"},
    CLI: {"starlette", "streamlit"},
}
FACADES = {"sandbox_pool", "codeact", "codeact.store", "codeact.exports"}
"""Packages whose `__init__` only re-exports names: an import of one does not tell which module has the name."""


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for folder in ("sandbox_pool", "codeact", *FOLDERS):
        for path in sorted((ROOT / folder).rglob("*.py")):
            relative = path.relative_to(ROOT)
            if relative.parts[:2] in {("codeact", "server"), ("codeact", "dashboard")}:
                continue  # The links; whether `rglob` follows them depends on Python's version.
            name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
            top, _, rest = name.partition(".")
            found[FOLDERS.get(top, top) + (f".{rest}" if rest else "")] = path
    return found


MODULES = modules()


def imports(path: Path) -> set[str]:
    """Everything that a module imports, also for types only: our modules in full, others by their first name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name if alias.name in MODULES else alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.add(whole if whole in MODULES else str(node.module))
    return {name if name in MODULES else name.split(".")[0] for name in names}


@cache
def all_imports() -> dict[str, set[str]]:
    """What each module imports. It is found out when a test asks, since every test process imports this file."""
    return {name: imports(path) for name, path in MODULES.items()}


def layer_of(module: str) -> str:
    if module == "codeact.__main__":
        return CLI
    return next(
        (layer for layer in (SERVER, DASHBOARD, CLI) if f"{module}.".startswith(f"{layer}.")), module.split(".")[0]
    )


def room_of(module: str) -> str:
    folder = module.rpartition(".")[0]
    has_folders = any(other.startswith(f"{folder}.") and other.count(".") > module.count(".") for other in MODULES)
    return module if has_folders else folder


def circles(graph: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Each set of nodes that reach each other (Tarjan's strongly connected components)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []

    def visit(node: str) -> Iterator[list[str]]:
        numbers[node] = lowest[node] = len(numbers)
        path.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in numbers:
                yield from visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in path:
                lowest[node] = min(lowest[node], numbers[other])
        if lowest[node] == numbers[node]:
            circle = path[path.index(node) :]
            del path[path.index(node) :]
            if len(circle) > 1:
                yield sorted(circle)

    for node in sorted(graph):
        if node not in numbers:
            yield from visit(node)


@pytest.mark.parametrize("layer", ABOVE)
def test_no_module_imports_from_a_layer_above(layer: str) -> None:
    mine = {name: found for name, found in all_imports().items() if layer_of(name) == layer}
    assert mine
    wrong = {
        name: {
            other
            for other in found
            if (other in MODULES and layer_of(other) in ABOVE[layer]) or other in FOREIGN[layer]
        }
        for name, found in mine.items()
    }
    assert {name: found for name, found in wrong.items() if found} == {}


def test_no_module_is_in_a_circle_of_imports() -> None:
    assert list(circles({name: found & MODULES.keys() - FACADES for name, found in all_imports().items()})) == []


def test_no_room_is_in_a_circle_of_imports() -> None:
    rooms: dict[str, set[str]] = {}
    for name, found in all_imports().items():
        if name not in FACADES:
            own = rooms.setdefault(room_of(name), set())
            own |= {room_of(other) for other in found & MODULES.keys() - FACADES} - {room_of(name)}
    assert list(circles(rooms)) == []


@pytest.mark.parametrize("name", [*KERNEL, "kernel_calls.py", "files_main.py", "relay_main.py"])
def test_what_runs_inside_a_sandbox_imports_nothing_of_ours(name: str) -> None:
    assert not {found for found in imports(ROOT / "sandbox_pool" / "guest" / name) if found in MODULES}


def test_no_module_of_the_page_is_in_a_circle_of_imports() -> None:
    sources = ROOT / "web" / "src"
    modules = {path for kind in ("*.ts", "*.tsx") for path in sources.rglob(kind)}
    graph: dict[str, set[str]] = {}
    for path in modules:
        named = [(path.parent / name).resolve() for name in re.findall(r'from "(\.[^"]+)"', path.read_text())]
        found = {other for name in named for kind in (".ts", ".tsx") if (other := Path(f"{name}{kind}")) in modules}
        graph[str(path)] = {str(other) for other in found}
    assert any(graph.values())
    assert list(circles(graph)) == []
