"""`codeact serve`: options enter as settings; returns when the server has stopped."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["serve"]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [8000]")] = None,
    model: Annotated[str | None, typer.Option(help="A litellm name, or demo")] = None,
    sandbox: Annotated[str | None, typer.Option(help="auto, docker or process [auto]")] = None,
    pool_min: Annotated[int | None, typer.Option(help="Sandboxes kept warm [2]")] = None,
    pool_max: Annotated[int | None, typer.Option(help="Sandboxes at most [16]")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the embedded database lives")] = None,
) -> None:
    """Start the server with whatever this machine has: Docker or local sandboxes, your model or the demo."""
    from codeact.settings import Settings
    from server.serve import serve as run_server

    run_server(
        Settings.load(
            host=host,
            port=port,
            model=model,
            sandbox=sandbox,
            pool_min=pool_min,
            pool_max=pool_max,
            data_dir=data_dir,
        )
    )
