"""Checkers for tasks, to be used alone or together. Each says what it expected and what came instead."""

import ast
import inspect
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from codeact.dialect.python_source import tree_of
from codeact.evals.outcome import Outcome, Verdict
from codeact.evals.task import Check
from codeact.observations.plaintext import excerpt

__all__ = [
    "all_of",
    "any_of",
    "called",
    "contains",
    "equals",
    "file_contains",
    "file_equals",
    "json_equals",
    "lacks",
    "number",
    "pictures",
    "runs",
    "verdict_of",
]

READ_CHARS = 200_000
"""Of an answer only this much is looked at."""
_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:[,  ]\d{3})+|\d{1,40})(?:\.\d{1,40})?(?:[eE][-+]?\d{1,4})?")


async def verdict_of(check: Check, outcome: Outcome) -> Verdict:
    """Returns the checker's verdict. Raises what the checker raises."""
    found = check(outcome)
    if inspect.isawaitable(found):
        found = await found
    return found if isinstance(found, Verdict) else Verdict(bool(found))


def number(expected: float, *, tolerance: float = 1e-6, answer: int = -1) -> Check:
    """The last number in an answer is `expected`, within `tolerance` of its size. It may have thousands separators."""

    def check(outcome: Outcome) -> Verdict:
        text = _answer(outcome, answer)
        found = [_float(match[0]) for match in _NUMBER.finditer(text)]
        passed = bool(found) and math.isclose(found[-1], expected, rel_tol=tolerance, abs_tol=tolerance)
        return Verdict(passed, f"expected the number {expected:g} at the end of {_shown(text)}")

    return check


def equals(expected: str, *, answer: int = -1) -> Check:
    """An answer is `expected`, but for case, space, and the marks of emphasis, code and quotation around it."""

    def check(outcome: Outcome) -> Verdict:
        text = _answer(outcome, answer)
        return Verdict(_bare(text) == _bare(expected), f"expected {expected!r}, not {_shown(text)}")

    return check


def contains(*words: str, answer: int = -1) -> Check:
    """Each of the words stands in an answer; case does not matter."""

    def check(outcome: Outcome) -> Verdict:
        text = _answer(outcome, answer)
        missing = [word for word in words if word.casefold() not in text.casefold()]
        return Verdict(not missing, f"expected {', '.join(map(repr, missing))} in {_shown(text)}")

    return check


def lacks(*words: str, answer: int = -1) -> Check:
    """None of the words stands in an answer; case does not matter."""

    def check(outcome: Outcome) -> Verdict:
        text = _answer(outcome, answer)
        present = [word for word in words if word.casefold() in text.casefold()]
        return Verdict(not present, f"did not expect {', '.join(map(repr, present))} in {_shown(text)}")

    return check


def json_equals(expected: Any, *, answer: int = -1) -> Check:
    """An answer is this value, as JSON or as Python writes it; text and fences around it may stand."""

    def check(outcome: Outcome) -> Verdict:
        text = _answer(outcome, answer)
        return Verdict(_same(_value(text), expected), f"expected {_shown(json.dumps(expected))}, not {_shown(text)}")

    return check


def file_equals(name: str, expected: str | bytes) -> Check:
    """Code wrote a file with this content. Of text, space at the ends does not matter."""

    def check(outcome: Outcome) -> Verdict:
        data = outcome.files.get(name)
        if data is None:
            return Verdict(False, _missing(name, outcome))
        if isinstance(expected, bytes):
            return Verdict(data == expected, f"{name} has other content: {len(data)} bytes")
        text = data.decode(errors="replace").replace("\r\n", "\n").strip()
        return Verdict(text == expected.strip(), f"expected {_shown(expected)} in {name}, not {_shown(text)}")

    return check


def file_contains(name: str, *words: str) -> Check:
    """Code wrote a file that has each of the words."""

    def check(outcome: Outcome) -> Verdict:
        if name not in outcome.files:
            return Verdict(False, _missing(name, outcome))
        text = outcome.text(name)[:READ_CHARS]
        missing = [word for word in words if word not in text]
        return Verdict(not missing, f"expected {', '.join(map(repr, missing))} in {name}: {_shown(text)}")

    return check


def pictures(least: int = 1, *, size: tuple[int, int] | None = None) -> Check:
    """Code displayed or wrote at least so many pictures (PNG), each of at least that width and height if given."""

    def check(outcome: Outcome) -> Verdict:
        shown = [image.data for image in outcome.images]
        written = [data for path, data in outcome.files.items() if path.endswith(".png")]
        sizes = [found for data in (*shown, *written) if (found := _png_size(data)) is not None]
        big = [one for one in sizes if size is None or (one[0] >= size[0] and one[1] >= size[1])]
        return Verdict(len(big) >= least, f"expected {least} pictures, not those of the sizes {sizes}")

    return check


def called(name: str, *, least: int = 1, most: int | None = None) -> Check:
    """The task's function was called so often."""

    def check(outcome: Outcome) -> Verdict:
        times = sum(call.name == name for call in outcome.calls)
        passed = times >= least and (most is None or times <= most)
        return Verdict(passed, f"expected calls of {name}: at least {least}, at most {most}; not {times}")

    return check


def runs(source: str, *, files: Mapping[str, bytes] | None = None) -> Check:
    """Code of the checker's, with the files that the model's code wrote, raises no exception in a fresh sandbox."""

    async def check(outcome: Outcome) -> Verdict:
        ran = await outcome.run(source, {**outcome.files, **(files or {})})
        return Verdict(ran.error is None, _shown(ran.error or ""))

    return check


def all_of(*checks: Check) -> Check:
    """Every checker passes. The first that does not gives its reason; the score is the share of those that do."""

    async def check(outcome: Outcome) -> Verdict:
        verdicts = [await verdict_of(each, outcome) for each in checks]
        failed = [verdict for verdict in verdicts if not verdict.passed]
        score = 1 - len(failed) / max(1, len(verdicts))
        return Verdict(not failed, failed[0].reason if failed else "", score)

    return check


def any_of(*checks: Check) -> Check:
    """One of the checkers passes."""

    async def check(outcome: Outcome) -> Verdict:
        verdicts = [await verdict_of(each, outcome) for each in checks]
        passed = any(verdict.passed for verdict in verdicts)
        return Verdict(passed, "" if passed else "; or ".join(verdict.reason for verdict in verdicts))

    return check


# ---- reading -----------------------------------------------------------------------------------------


def _answer(outcome: Outcome, index: int) -> str:
    answers = outcome.answers
    return answers[index][:READ_CHARS] if -len(answers) <= index < len(answers) else ""


def _shown(text: str) -> str:
    return repr(excerpt(text, 200))


def _missing(name: str, outcome: Outcome) -> str:
    return f"code did not write {name!r}, but {', '.join(sorted(outcome.files)[:10]) or 'nothing'}"


def _float(text: str) -> float:
    return float(re.sub("[,  ]", "", text).replace("−", "-"))


def _bare(text: str) -> str:
    return " ".join(text.strip(" \t\n*_`'\".").casefold().split())


def _value(text: str) -> Any:
    """The value that a text is, or that stands between its first and its last bracket."""
    opening = [index for bracket in "[{" if (index := text.find(bracket)) >= 0]
    closing = max(text.rfind("]"), text.rfind("}"))
    inside = text[min(opening) : closing + 1] if opening and closing > min(opening) else ""
    for candidate in (text.strip().strip("`"), inside):
        for read in (json.loads, _literal):
            try:
                return read(candidate)
            except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
                continue
    return _Nothing


def _literal(text: str) -> Any:
    """The value of a Python literal. Raises `ValueError`, also for what would take quadratic time to parse."""
    match tree_of(text):
        case ast.Module(body=[ast.Expr(value=value)]):
            return ast.literal_eval(value)
    raise ValueError("it is no literal")


class _Nothing:
    """Equals no value."""


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, bool) or isinstance(found, bool):
        return found is expected
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        return expected.keys() == found.keys() and all(_same(found[key], value) for key, value in expected.items())
    if isinstance(expected, Sequence) and not isinstance(expected, str) and isinstance(found, list | tuple):
        return len(found) == len(expected) and all(map(_same, found, expected))
    return bool(found == expected)


def _png_size(data: bytes) -> tuple[int, int] | None:
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 24:
        return None
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
