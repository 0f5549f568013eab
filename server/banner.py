"""Says what `codeact serve` has started: a banner on a terminal, otherwise lines of the log."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import structlog
from rich.console import Console
from rich.text import Text

from codeact.component import Component
from codeact.errors import CodeActError
from codeact.server.services import Services
from codeact.settings import Settings
from sandbox_pool.errors import SandboxError

__all__ = ["announce", "log_start"]

log = structlog.get_logger(__name__)

WARM_WITHIN_S = 60.0


async def announce(services: Services, console: Console, *, address: str, started: float) -> None:
    """Prints the address at once, then each component when it is ready or has failed, then what to do next."""
    console.print(Text.assemble(("codeact ", "bold"), (version("codeact"), "dim"), f"  {address}\n"))
    components: list[Component[Any]] = [services.models, services.pool, services.store]
    for component in components:
        component.on_progress = partial(_progress, console, component.name)
    for component in components:
        await component.settled()
        _show(component, console)
    if (link := await _setup_link(services, address)) is not None:
        said = "\nNobody is an admin yet. Whoever opens this link and signs in becomes one:"
        console.print(Text(f"{said}\n  {link}"), soft_wrap=True)
    problem = await _problem(services, components)
    if problem is None:
        console.print(
            f"\nReady in {time.monotonic() - started:.1f} s. Open {address}, or in a second terminal:\n"
            f'  [cyan]{_command()} run {_url_option(address)}"What is the 100th Fibonacci number?"[/cyan]\n'
            "Ctrl-C stops the server.",
            highlight=False,
            soft_wrap=True,
        )
    else:
        text = Text.assemble(("\nNot ready: ", "red"), f"{problem} The server keeps running; Ctrl-C stops it.")
        console.print(text, soft_wrap=True)


async def log_start(services: Services, *, address: str, started: float) -> None:
    """Logs what `announce` prints, for servers whose output is not read on a terminal.

    Components log by themselves that they are ready or failed.
    """
    log.info("listening", address=address, version=version("codeact"))
    components: list[Component[Any]] = [services.models, services.pool, services.store]
    for component in components:
        await component.settled()
        for hint in component.started.hints if component.started is not None else ():
            log.warning("hint", component=component.name, hint=hint)
    if (link := await _setup_link(services, address)) is not None:
        log.warning("nobody is an admin yet: whoever opens this link and signs in becomes one", link=link)
    if (problem := await _problem(services, components)) is not None:
        log.error("not ready", reason=problem)
        return
    log.info("ready", address=address, seconds=round(time.monotonic() - started, 1))


async def _setup_link(services: Services, address: str) -> str | None:
    """The link of the first admin; None unless people sign in and nobody is an admin. Then earlier links end, too."""
    settings = services.settings
    if services.store.started is None:
        return None
    people = services.store.started.value.people
    try:
        named = not settings.people_sign_in or settings.login_admins
        if named or await people.has_admin(settings.login_issuers, by_rules=False):
            await people.delete_setup_codes()
            return None
        return f"{settings.public_url or address}/login?setup={await people.create_setup_code()}"
    except CodeActError as error:
        log.error("the link of the first admin could not be made", reason=error.message)
        return None


async def _problem(services: Services, components: Sequence[Component[Any]]) -> str | None:
    """Why the server is not ready; None if it is."""
    if any(component.state != "ready" for component in components):
        return "see above."
    return await _pool_problem(services)


async def _pool_problem(services: Services) -> str | None:
    """Why the pool has not reached its minimum; None if it has."""
    try:
        with anyio.fail_after(WARM_WITHIN_S):
            await (await services.pool.get()).ready()
    except TimeoutError:
        return f"no warm sandbox after {WARM_WITHIN_S:.0f} s."
    except SandboxError as error:
        return error.message
    return None


def _command() -> str:
    """The command that started this program; just its name if that is enough to find it."""
    called = sys.argv[0]
    if Path(called).name != "codeact":
        return "codeact"
    found = shutil.which("codeact")
    return "codeact" if found and os.path.samefile(found, called) else called


def _url_option(address: str) -> str:
    """The option by which `codeact run` finds this server from another terminal; empty where it looks by itself."""
    port = Settings.model_fields["port"].default
    return "" if address == f"http://localhost:{port}" else f"--url {address} "


def _progress(console: Console, name: str, line: str) -> None:
    console.print(Text(f"  {name:9} {line}", style="dim"))


def _show(component: Component[Any], console: Console) -> None:
    name = f"  {component.name:9} "
    if component.started is None:
        console.print(Text.assemble((name, "bold"), (str(component.error), "red")), soft_wrap=True)
        return
    console.print(Text.assemble((name, "bold"), component.started.summary), soft_wrap=True)
    indent = " " * len(name)
    console.print(Text(f"{indent}{component.started.why}", style="dim"), soft_wrap=True)
    for hint in component.started.hints:
        console.print(Text(f"{indent}{hint}", style="yellow"), soft_wrap=True)
