"""`codeact bench NAME`: runs a benchmark of the checkout and prints a table, or one flat JSON object."""

import importlib
import json
import sys
from pathlib import Path

import anyio

from codeact.errors import ConfigurationError

__all__ = ["bench"]

CHECKOUT = Path(__file__).parents[3]
NAMES = (
    *("compaction", "dashboard", "eager", "eager_corpus", "flood", "history", "hostile", "latency", "load", "peers"),
    *("pool", "prefix_cache", "relays", "scaling", "server", "stalls", "state", "tokens"),
)


def bench(name: str, sandbox: str, *, as_json: bool) -> None:
    """Runs the benchmark and prints its figures.

    Raises `ConfigurationError` for unknown names, and if this is not a checkout.
    """
    if name not in NAMES or sandbox not in ("docker", "process"):
        raise ConfigurationError(f"Benchmarks are {', '.join(NAMES)}; backends are process and docker.")
    if (CHECKOUT / "benchmarks").is_dir():
        sys.path.append(str(CHECKOUT))
    try:
        module = importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The benchmark '{name}' needs {error.name}: run it from a checkout, set up by `make install-dev`."
        ) from None
    figures = anyio.run(module.measure, sandbox)
    if as_json:
        print(json.dumps(figures))  # noqa: T201
        return
    for figure, value in figures.items():
        print(f"{figure:24} {value:10.3f}")  # noqa: T201
