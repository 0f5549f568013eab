"""`codeact bench NAME`: runs a benchmark of the checkout; one flat JSON object or a table leaves."""

import importlib
import json
from typing import Annotated, Literal

import anyio
import typer

from codeact.errors import ConfigurationError

__all__ = ["bench"]


def bench(
    name: Annotated[Literal["latency", "pool"], typer.Argument(help="What to measure")],
    sandbox: Annotated[Literal["docker", "process"], typer.Option(help="The backend to measure")] = "process",
    as_json: Annotated[bool, typer.Option("--json", help="One flat JSON object")] = False,
) -> None:
    """Measure this machine (from a checkout). Run one at a time, on a quiet machine."""
    try:
        module = importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"The benchmark '{name}' needs {error.name}: run it from a checkout, set up by `make install-dev`."
        ) from None
    figures = anyio.run(module.measure, sandbox)
    if as_json:
        typer.echo(json.dumps(figures))
        return
    for figure, value in figures.items():
        typer.echo(f"{figure:24} {value:10.3f}")
