"""HumanEval and MBPP: functions to write, and tests that they must pass in a fresh sandbox.

Both are files with one JSON object a line, as they are published (Chen et al., 2021, arXiv:2107.03374; Austin et al.,
2021, arXiv:2108.07732). They are not part of codeact.
"""

from pathlib import Path
from typing import Any

import msgspec

from codeact.evals.checks import runs
from codeact.evals.forms.lines import typed
from codeact.evals.task import Check, Limits, Task, code

__all__ = ["humaneval_tasks", "mbpp_tasks"]

FILE = "solution.py"
_ASK = (
    "Write the function into the file {file}, with everything that it needs, and nothing that runs when it is"
    " imported. Try it."
)
LIMITS = Limits(max_turns=8)


class _HumanEval(msgspec.Struct):
    task_id: str
    prompt: str
    entry_point: str
    test: str
    canonical_solution: str = ""


class _Mbpp(msgspec.Struct):
    task_id: int | str
    test_list: list[str]
    text: str = ""
    prompt: str = ""
    code: str = ""
    test_setup_code: str = ""
    test_imports: list[str] = []


def humaneval_tasks(path: Path) -> list[Task]:
    """Reads HumanEval's file, unpacked. Raises `ConfigurationError`, which names a line that is none of its."""
    return [_humaneval(line) for _, line in typed(path, _HumanEval)]


def mbpp_tasks(path: Path) -> list[Task]:
    """Reads MBPP's file, or the sanitized one with an object a line. Raises like `humaneval_tasks`."""
    return [_mbpp(line) for _, line in typed(path, _Mbpp)]


def _humaneval(line: _HumanEval) -> Task:
    return Task(
        id=line.task_id,
        questions=[f"Complete this function.\n{_ASK.format(file=FILE)}\n\n```python\n{line.prompt}\n```"],
        check=_tested(f"{line.test}\n\ncheck({line.entry_point})\n"),
        limits=LIMITS,
        tags=frozenset({"humaneval"}),
        **_solved(line.prompt + line.canonical_solution if line.canonical_solution else ""),
    )


def _mbpp(line: _Mbpp) -> Task:
    tests = "\n".join(line.test_list)
    setup = "\n".join([*line.test_imports, line.test_setup_code])
    return Task(
        id=f"MBPP/{line.task_id}",
        questions=[f"{line.text or line.prompt}\n{_ASK.format(file=FILE)} It must pass:\n\n```python\n{tests}\n```"],
        check=_tested(f"{setup}\n{tests}\n"),
        limits=LIMITS,
        tags=frozenset({"mbpp"}),
        **_solved(line.code),
    )


def _tested(tests: str) -> Check:
    return runs(f"from {FILE.removesuffix('.py')} import *\n{tests}")


def _solved(source: str) -> dict[str, Any]:
    """The scripted solution, where the file has one, and a file that solves nothing."""
    if not source:
        return {}
    write = f"from pathlib import Path\nPath({FILE!r}).write_text({{}})"
    return {
        "reference": [code(write.format(repr(source))), "It is done."],
        "wrong": [code(write.format(repr(""))), "It is done."],
    }
