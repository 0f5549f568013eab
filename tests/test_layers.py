"""Imports point downwards only: sandbox_pool ← codeact ← server and streamlit_app, which know nothing of each other."""

import ast
from pathlib import Path

import pytest

from sandbox_pool.backends.kernel_process import KERNEL

ROOT = Path(__file__).parent.parent
LAYERS = ["sandbox_pool", "codeact", "server"]
DASHBOARD = "streamlit_app"
# The command line puts the layers together, so it alone may look upwards.
COMPOSITION_ROOT = ROOT / "codeact" / "commands"
FOREIGN = {"sandbox_pool": {"starlette", "litellm", "beanie", "pymongo"}, "codeact": {"starlette", "uvicorn", "docker"}}
FOREIGN = {layer: names | {DASHBOARD, "streamlit"} for layer, names in {"server": set[str](), **FOREIGN}.items()}


def imports(path: Path) -> set[str]:
    """Top-level names that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def modules(layer: str) -> list[Path]:
    return [path for path in sorted((ROOT / layer).rglob("*.py")) if COMPOSITION_ROOT not in path.parents]


@pytest.mark.parametrize("layer", LAYERS)
def test_no_module_imports_from_a_layer_above(layer: str) -> None:
    above = set(LAYERS[LAYERS.index(layer) + 1 :]) | FOREIGN.get(layer, set())
    found = {str(path.relative_to(ROOT)): imports(path) & above for path in modules(layer)}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_dashboard_imports_nothing_of_the_server() -> None:
    found = {str(path.relative_to(ROOT)): imports(path) & {"server", "starlette"} for path in modules(DASHBOARD)}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("name", [*KERNEL, "kernel_calls.py"])
def test_the_kernel_side_imports_nothing_of_ours(name: str) -> None:
    assert imports(ROOT / "sandbox_pool" / name) & set(LAYERS) == set()
