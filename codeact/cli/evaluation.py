"""The arguments of `codeact eval`."""

import time
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["eval_"]


def eval_(
    suite: Annotated[
        str,
        typer.Argument(
            help="codeact, m3tooleval, humaneval, mbpp, gaia, a .jsonl or .py file; or compare, report, draft."
        ),
    ],
    paths: Annotated[
        list[Path] | None, typer.Argument(help="compare A B; report DIR; draft EXPORT.json …", exists=True)
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A litellm name; several with commas between. reference: the tasks' own solutions."),
    ] = None,
    dialect: Annotated[str | None, typer.Option(help="tags, tool_call, freeform; several with commas between.")] = None,
    eager: Annotated[
        str | None, typer.Option(help="on, off: whether code runs while it is written; both with a comma between.")
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="code, json, text: how the model acts. Several with commas between.")
    ] = "code",
    tasks: Annotated[Path | None, typer.Option(help="Where a named suite's tasks are.")] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="Only tasks of this id or pattern (files*); repeatable.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only tasks with this tag; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many tasks.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=500, help="Attempts at once.")] = 4,
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="Attempts at each task.")] = 1,
    retries: Annotated[int, typer.Option(min=0, max=100, help="Further attempts where the infrastructure failed.")] = 3,
    seed: Annotated[int | None, typer.Option(help="Passed to models that take one; each repetition adds one.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Stop after so many USD.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Stop after so many tokens.")] = None,
    max_minutes: Annotated[float | None, typer.Option(min=0.01, help="Stop after so many minutes.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where results go; the same again continues. [default: below the data directory]"),
    ] = None,
    sandbox: Annotated[str | None, typer.Option(help="auto, docker, process, … [default: auto]")] = None,
    thumbs_down: Annotated[
        bool, typer.Option("--thumbs-down", help="draft: all answers in the database with a thumb down.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Evaluate models on a suite of tasks; compare two runs; print a run's report; make tasks of conversations."""
    from codeact.cli.commands import eval as commands
    from codeact.errors import ConfigurationError
    from codeact.evals.forms.loading import load
    from codeact.evals.runner import Budget, Options, known_setups
    from codeact.settings import Settings

    if suite == "draft":
        commands.draft(Settings.load(), paths or (), thumbs_down=thumbs_down)
        return
    if suite in ("compare", "report"):
        if len(paths or ()) != (2 if suite == "compare" else 1):
            raise typer.BadParameter("compare takes two directories of results, report takes one.")
        if suite == "compare":
            commands.compare(*(paths or ()), as_json=as_json)
        else:
            commands.report((paths or [Path()])[0], as_json=as_json)
        return
    if paths:
        raise ConfigurationError(f"A suite takes no further arguments: {paths[0]}. Where its tasks are: --tasks PATH.")
    split = [name for names in model or () for name in names.split(",") if name]
    setups = known_setups(
        split,
        _listed(dialect, ("tags", "tool_call", "freeform")),
        _listed(format_, ("code", "json", "text")),
        [word == "on" for word in _listed(eager, ("on", "off"))],
    )
    settings = Settings.load(sandbox=sandbox)
    name = Path(suite).stem
    directory = out or settings.data_dir / "evals" / f"{name}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    options = Options(
        setups=setups,
        repeat=repeat,
        parallel=parallel,
        retries=retries,
        seed=seed,
        budget=Budget(max_cost, max_tokens, max_minutes),
        sandbox={"sandbox": settings.sandbox},
    )
    chosen = commands.chosen(load(suite, tasks), names=task or (), tags=tag or (), limit=limit)
    raise typer.Exit(commands.run(name, chosen, options, directory, as_json=as_json))


def _listed(text: str | None, known: tuple[str, ...]) -> list[str]:
    """The words between commas. Raises `typer.BadParameter` for one that is not known."""
    words = [word.strip() for word in (text or "").split(",") if word.strip()]
    for word in words:
        if word not in known:
            raise typer.BadParameter(f"{word!r} is none of {', '.join(known)}.")
    return words
