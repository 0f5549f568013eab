"""The commands and scripts of README and docs: scripts run, and commands have the options that they are shown with."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import typer

from codeact.cli.main import app
from codeact.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")] if path.name != "CHANGELOG.md")
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^ {4}((?:[A-Z_]+=\S+ +)*(?:\.venv/bin/)?(?:codeact|make|python) .*)$", re.MULTILINE)
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
NOT_COMMANDS = ("codeact 0.1.0", "codeact.", "codeact runs on ", "its data is in ")


PROGRAMS = (
    r"codeact|make|python|\.ci/run|git|pipx?|uvx|bun|curl|docker|kubectl|helm|helm/verify\.sh|nginx|haproxy"
    r"|sbatch|scancel|ssh|cp|vllm|llama-server|ollama|open-webui"
)
LINE = re.compile(rf"((?:[A-Z_]+=(?:'[^']*'|\"[^\"]*\"|\S)+ +)*(?:\.venv/bin/)?(?:{PROGRAMS}) .*)")
BLOCK = re.compile(r"^((?: {4}[^\n]*\n|\n(?= {4}))+)(?:\n\*Not run by a test: ([^*]+)\*$)?", re.MULTILINE)
"""An indented block, and the line below it that says why no test runs its commands."""
SAID = re.compile(r"[Nn]ot run by a test: ([^()]+)")


def with_reasons() -> Iterator[tuple[str, str, str]]:
    """Each command of a page, of whatever program, and why no test runs it, as the page says it, or an empty text.

    The reason stands below the block, or in the comment beside the command.
    """
    for page in PAGES:
        for block, reason in BLOCK.findall(FENCE.sub("", page.read_text())):
            for line in re.sub(r"\\\n +", "", block).splitlines():
                found = LINE.match(line.strip())
                line, _, comment = (found[1] if found is not None else "").partition(" #")
                said = SAID.search(comment)
                for command in re.split(r" && ", line):
                    if command and not command.startswith(NOT_COMMANDS):
                        yield str(page.relative_to(ROOT)), command.strip(), said[1] if said is not None else reason


def scripts(page: Path) -> list[str]:
    return [dedent(code) for _, language, code in FENCE.findall(page.read_text()) if language == "python"]


def commands() -> Iterator[tuple[str, str]]:
    """Each command of a page, without the fenced blocks; several that are joined by `&&` or `|` come one by one."""
    for page in PAGES:
        for line in COMMAND.findall(FENCE.sub("", page.read_text())):
            for command in re.split(r"&&|\||;", line.partition(" #")[0]):
                if not command.strip().startswith(NOT_COMMANDS):
                    yield str(page.relative_to(ROOT)), command.strip()


def problem(command: str) -> str:
    """Returns what is wrong with a command, or an empty text."""
    words = [word for word in shlex.split(command) if word != "\\"]
    while "=" in words[0] and words[0].split("=")[0].isupper():
        name = words.pop(0).split("=")[0]
        if name.startswith("CODEACT_") and name.removeprefix("CODEACT_").lower() not in Settings.model_fields:
            return f"there is no setting {name}"
    match Path(words[0]).name, words[1:]:
        case "make", [target, *_] if target.isidentifier() or "-" in target:
            return "" if target in TARGETS else f"there is no target {target}"
        case "python", ["-m", module, *_] if module.startswith("benchmarks"):
            return "" if find_spec(module) is not None else f"there is no module {module}"
        case "python", [script, *_] if script.endswith(".py"):
            return "" if (ROOT / script).exists() else f"there is no {script}"
        case "codeact", arguments:
            return problem_of_codeact(arguments)
    return ""


def problem_of_codeact(arguments: list[str]) -> str:
    command: Any = typer.main.get_command(app)
    for word in arguments:
        if hasattr(command, "commands"):
            if word not in command.commands and not word.startswith("-"):
                return f"there is no command {word}"
            command = command.commands.get(word, command)
        elif word.startswith("--"):
            known = {option for parameter in command.params for option in parameter.opts}
            if word.split("=")[0] not in known | {"--help"} and not command.allow_extra_args:
                return f"it has no option {word}"
    return ""


def test_every_command_of_the_docs_exists_with_its_options() -> None:
    found = list(commands())
    assert len(found) > 25
    wrong = [f"{page}: {command}: {why}" for page, command in found if (why := problem(command))]
    assert wrong == []


def test_a_wrong_command_is_found() -> None:
    assert problem("CODEACT_MODLE=demo make serve") == "there is no setting CODEACT_MODLE"
    assert problem("make server") == "there is no target server"
    assert problem("codeact rum x") == "there is no command rum"
    assert problem("codeact run --modle x") == "it has no option --modle"
    assert problem(".venv/bin/codeact keys create --owner alice") == ""


@pytest.mark.parametrize("page", [page for page in PAGES if scripts(page)], ids=lambda page: page.name)
def test_every_piece_of_python_is_a_script(page: Path) -> None:
    for script in scripts(page):
        compile(script, str(page), "exec")


def test_the_snippet_with_sandboxes_alone_runs(tmp_path: Path) -> None:
    [script] = [script for script in scripts(ROOT / "README.md") if "from sandbox_pool" in script]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/none"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "hello" in done.stdout, done.stderr
