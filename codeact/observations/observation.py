"""Writes the observation of an execution: the text, of limited length, in which the model reads outputs and errors."""

import base64
import re
import struct
from collections.abc import Iterable, Sequence

import msgspec

from codeact.observations.plaintext import excerpt, visible_text
from codeact.observations.screen import climbed
from codeact.observations.tracebacks import condensed
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Stream

__all__ = ["HEADER", "kernel_lost", "kernel_restored", "observation", "ran_through", "stopped_early"]

HEADER = "Observation:"

_STATUS = {
    "ok": "ok",
    "error": "error",
    "interrupted": "interrupted from outside",
    "timeout": "stopped at the time limit",
    "died": "the kernel died",
}
_CLEAN_UP = "Delete files that you need no more, or write less."
_REMEDIES = {
    "execution_timeout_s": "Split the work into blocks, or find a faster way.",
    "memory_mb": "Work on less data at a time, or in smaller types.",
    "output_bytes": "Print a summary instead.",
    "pids": "Start fewer processes and threads, and end those that are done.",
    "shm_mb": _CLEAN_UP,
    "stored_mb": "Show less, and tell the user that what they keep has reached its limit.",
    "tmp_mb": _CLEAN_UP,
    "workspace_inodes": _CLEAN_UP,
    "workspace_mb": _CLEAN_UP,
}
"""Advice for each limit that the same code would reach again."""
_PICTURES = ("image/png", "image/jpeg", "image/svg+xml", "image/gif", "image/webp")
_PLACEHOLDER = re.compile(r"<[\w.<>]{1,300} (?:object>|(?:object )?at 0x[0-9a-fA-F]{1,16}>)\Z")
"""Matches the default repr of objects, which has only the class's name and a memory address."""
TRACEBACK_CHARS = 100_000
"""A longer traceback loses its middle before it is read."""


def observation(
    outputs: Sequence[Stream | DisplayData | ExecuteResult | Error],
    result: ExecutionResult,
    *,
    limit_chars: int,
    hints: Sequence[str] = (),
    ran_lines: int = 0,
) -> str:
    """Returns the observation: a header with the status, each output under its kind, the traceback, and the hints.

    The text has at most `limit_chars` characters (500 or more). The header is never cut; outputs and traceback lose
    their middle if they are too long. Hints get at most a third of the space, and a traceback at least half of the
    rest. `ran_lines` is how many lines had run before a syntax error was found.
    """
    header = _header(result, limit_chars // 4, ran_lines)
    error = result.error or next((output for output in outputs if isinstance(output, Error)), None)
    sections = "".join(_sections(outputs))
    traceback = _section("traceback", _traceback(error)) if error else ""
    if not sections and not traceback:
        return f"{header}\n(no output)"
    room = limit_chars - len(header) - 3
    hint = excerpt(_section("hint", "\n".join(hints)), room // 3).strip("\n") if hints else ""
    room -= len(hint)
    traceback = excerpt(traceback, max(room // 2, room - len(sections))).strip("\n")
    sections = excerpt(sections, room - len(traceback)).strip("\n")
    return "\n".join(part for part in (header, sections, traceback, hint) if part)


def ran_through(lines: int) -> str:
    """Names the lines from the first to this one."""
    return "line 1" if lines == 1 else f"lines 1 to {lines:,}"


def stopped_early(lines: int, *, failed: bool) -> str:
    """Returns the note for the model that its code ended while it still wrote, so that it was stopped.

    So many lines had run before. `failed` is False if the code ended itself, by `exit()`.
    """
    end = "the error" if failed else "your code ended itself"
    before = f"{ran_through(lines).capitalize()} had run before {end}" if lines else f"Nothing had run before {end}"
    return f"Your code runs while you write it. {before}; you were stopped there, and nothing after it ran."


def kernel_lost(reason: str) -> str:
    """Returns the note for the model that its kernel was replaced; `reason` is a part of a sentence, or empty."""
    because = f" ({reason.strip().rstrip('.')})" if reason.strip() else ""
    return (
        f"The Python kernel was replaced{because}: all earlier variables, imports and files are gone, except files that"
        " the user gave: they are in the working directory again."
        " Define again what you need."
    )


def kernel_restored(reason: str | None, restored: str) -> str:
    """Returns the note for the model that the state of its kernel comes back from a checkpoint.

    `reason` says why the kernel was replaced, as a part of a sentence; None: the user went back to this point.
    """
    if reason is None:
        return (
            "The user went back to this point of the conversation and goes on from here. The Python kernel goes back,"
            f" too: a new one gets the variables and files of this point.\n{restored}"
        )
    because = reason.strip().rstrip(".")
    return f"The Python kernel was replaced ({because}). The new one gets its variables and files back.\n{restored}"


def _header(result: ExecutionResult, detail_chars: int, ran_lines: int) -> str:
    status = _STATUS[result.status]
    if result.error_kind == "syntax":
        status = f"syntax error, {f'{ran_through(ran_lines)} had run before' if ran_lines else 'nothing ran'}"
    lines = [f"{HEADER} {status}, {result.duration_s:.2f} s"]
    if result.limit:
        lines.append(f"Limit reached: {result.limit}")
    if result.detail:
        lines.append(excerpt(result.detail, detail_chars))
    if result.limit in _REMEDIES:
        lines.append(_REMEDIES[result.limit])
    if not result.kernel_alive:
        lines.append(kernel_lost(""))
    return "\n".join(lines)


def _section(kind: str, text: str) -> str:
    return f"{kind}:\n{text}" + ("" if text.endswith("\n") else "\n")


def _sections(outputs: Iterable[Stream | DisplayData | ExecuteResult | Error]) -> Iterable[str]:
    for output in outputs:
        match output:
            case Stream(name, text) if text:
                yield _section(name, climbed(text))
            case DisplayData(data, metadata):
                yield _section("display", _described(data, metadata))
            case ExecuteResult(data, metadata):
                yield _section("value", _described(data, metadata))


def _traceback(error: Error) -> str:
    text = "\n".join(error.traceback) or f"{error.ename}: {error.evalue}"
    return condensed(excerpt(text, TRACEBACK_CHARS))


def _described(data: dict[str, object], metadata: dict[str, object]) -> str:
    """Describes a rich value in text: a picture by its type and size, anything else by its textual form."""
    for mime in _PICTURES:
        if mime in data:
            size = _picture_size(data[mime], metadata.get(mime))
            return f"[{mime}, {size}shown to the user]"
    plain = str(data.get("text/plain", ""))
    if plain and not _PLACEHOLDER.match(plain):
        return plain
    for mime in ("text/markdown", "text/latex"):
        if mime in data:
            return str(data[mime])
    if "application/json" in data:
        return _as_json(data["application/json"])
    if "text/html" in data:
        return visible_text(str(data["text/html"])) or "[text/html, shown to the user]"
    return plain or f"[{', '.join(data) or 'nothing'}]"


def _as_json(value: object) -> str:
    return (bytes(value) if isinstance(value, msgspec.Raw) else msgspec.json.encode(value)).decode(errors="replace")


def _picture_size(content: object, metadata: object) -> str:
    """Returns for example `640x480, `, from the metadata or a PNG's header; an empty string if neither has it."""
    if isinstance(metadata, dict) and {"width", "height"} <= metadata.keys():
        return f"{metadata['width']}x{metadata['height']}, "
    try:
        head = base64.b64decode(str(content)[:32])
        if head[12:16] == b"IHDR":
            return "{}x{}, ".format(*struct.unpack(">II", head[16:24]))
    except (ValueError, struct.error):
        pass
    return ""
