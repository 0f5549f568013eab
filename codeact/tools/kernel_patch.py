"""Applies patches to files in the kernel's working directory, in the V4A form that models write.

The kernel gets the text of this module together with the functions. `call` tells the server which file changes and how
that went. A diff consists of lines that begin with " " (context), "-" (removed) or "+" (added). `@@` and `@@ LINE`
begin a section, the second one after that line of the file. `*** End of File` says that the lines before it are the
file's last ones. A section of added lines alone comes after its `@@ LINE`, or else at the end of the file.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

ROOT = os.path.realpath(os.getcwd())
KINDS = {"*** Add File: ": "create_file", "*** Update File: ": "update_file", "*** Delete File: ": "delete_file"}
END_OF_FILE = "*** End of File"


class PatchError(ValueError):
    """The patch does not fit the file. The file is as it was."""


def apply_patch(call: Callable[[str, dict[str, Any]], Any], patch: Any) -> list[str]:
    """Applies each operation, and returns a sentence about each. Raises `PatchError` at the first that does not fit."""
    done = []
    for operation in _operations(patch):
        call("apply_patch", {"operation": operation})
        try:
            done.append(_applied(operation))
        except BaseException as error:
            call("apply_patch", {"status": "failed", "output": str(error) or type(error).__name__})
            raise
        call("apply_patch", {"status": "completed", "output": done[-1]})
    return done


def patched(text: str, diff: str) -> str:
    """The text with a diff applied. Raises `PatchError`, naming the lines that were not found."""
    # Each line keeps its own end; added lines get the end that most have.
    usual = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    *whole, last = text.split("\n")
    lines = [*(line.removesuffix("\r") for line in whole), last]
    ended = [*(f"{line}\n" for line in whole), f"{last}{usual}"]
    forms = [lines, [line.rstrip() for line in lines], [line.strip() for line in lines]]
    result, at = list[str](), 0
    for anchor, changes, is_last in _sections(diff):
        if anchor:
            found = _find([anchor], forms, at, is_last=False)
            if found is None:
                raise PatchError(f"There is no line {anchor!r} after line {at}.")
            result += ended[at : found + 1]
            at = found + 1
        old = [line for sign, line in changes if sign != "+"]
        if old:
            start = _find(old, forms, at, is_last=is_last)
        else:
            start = at if anchor and not is_last else max(at, len(lines) - (lines[-1] == ""))
        if start is None:
            shown = "\n".join(old[:20])
            raise PatchError(f"These lines are not in the file after line {at}:\n{shown}")
        result += ended[at:start]
        at = start
        for sign, line in changes:
            if sign == "+":
                result.append(f"{line}{usual}")
            else:
                if sign == " ":
                    result.append(ended[at])
                at += 1
    result += ended[at:]
    if result:
        result[-1] = result[-1].removesuffix("\n").removesuffix("\r" if len(result[-1]) > 1 else "")
    return "".join(result)


def created(diff: str) -> str:
    """The content of a new file. Raises `PatchError` for a line that does not begin with "+"."""
    lines = diff.removesuffix("\n").split("\n") if diff else []
    for line in lines:
        if not line.startswith("+"):
            raise PatchError(f"Each line of a new file begins with '+', and this does not: {line[:200]!r}")
    return "".join(f"{line[1:]}\n" for line in lines)


def _sections(diff: str) -> list[tuple[str, list[tuple[str, str]], bool]]:
    """The sections: the line after which each begins, its lines with their signs, whether it is the file's end."""
    sections: list[tuple[str, list[tuple[str, str]], bool]] = []
    anchor, changes = "", list[tuple[str, str]]()
    for line in diff.replace("\r\n", "\n").removesuffix("\n").split("\n"):
        is_end = line.rstrip() == END_OF_FILE
        if is_end or line.startswith("@@"):
            if changes:
                sections.append((anchor, changes, is_end))
                anchor, changes = "", []
            if not is_end:
                anchor = line[2:].strip(" ").removesuffix("@@").rstrip()
        elif line == "":
            changes.append((" ", ""))
        elif line[0] in " +-":
            changes.append((line[0], line[1:]))
        else:
            raise PatchError(f"A line of a diff begins with ' ', '+', '-' or '@@', and this does not: {line[:200]!r}")
    if changes:
        sections.append((anchor, changes, False))
    if not sections or not diff.strip():
        raise PatchError("The diff changes nothing.")
    return sections


def _find(old: list[str], forms: list[list[str]], at: int, *, is_last: bool) -> int | None:
    """Where these lines are, exactly or else but for the blanks around them; the last place if `is_last`.

    `forms` are the lines of the file: as they are, without blanks at their ends, and without blanks around them.
    """
    same: tuple[Callable[[str], str], ...] = (str, str.rstrip, str.strip)
    for seen, form in zip(forms, same, strict=True):
        wanted = [form(line) for line in old]
        found, start, stop = None, at, len(seen) - len(old) + 1
        while start < stop and (found is None or is_last):
            try:
                start = seen.index(wanted[0], start, stop)
            except ValueError:
                break
            if seen[start : start + len(old)] == wanted:
                found = start
            start += 1
        if found is not None:
            return found
    return None


def _operations(patch: Any) -> list[dict[str, str]]:
    """The operations of a dict, a list of them, or a text between `*** Begin Patch` and `*** End Patch`."""
    if isinstance(patch, str):
        return _of_text(patch)
    listed = [patch] if isinstance(patch, dict) else list(patch)
    return [{name: str(one[name]) for name in ("type", "path", "diff") if name in one} for one in listed]


def _of_text(text: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for line in text.replace("\r\n", "\n").strip("\n").split("\n"):
        if line.strip() in ("*** Begin Patch", "*** End Patch"):
            continue
        kind = next((prefix for prefix in KINDS if line.startswith(prefix)), None)
        if kind is not None:
            found.append({"type": KINDS[kind], "path": line.removeprefix(kind).strip(), "diff": ""})
        elif found:
            found[-1]["diff"] += f"{line}\n"
        elif line.strip():
            raise PatchError(f"A patch begins with a line such as '*** Update File: PATH', not with {line[:200]!r}")
    if not found:
        raise PatchError("The patch names no file.")
    return found


def _applied(operation: dict[str, str]) -> str:
    kind, path, diff = operation.get("type"), operation.get("path", ""), operation.get("diff", "")
    place = os.path.realpath(os.path.join(ROOT, path))
    if not path or os.path.isabs(path) or not place.startswith(f"{ROOT}{os.sep}"):
        raise PatchError(f"The path of a file is relative to the working directory, and below it; not {path[:200]!r}.")
    if kind == "create_file":
        content = created(diff)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if os.path.exists(place):
            raise FileExistsError(f"{path} exists already.")
        _write(place, content)
        return f"{path} was created."
    if kind == "update_file":
        with open(place, encoding="utf-8", newline="") as file:
            content = patched(file.read(), diff)
        _write(place, content)
        return f"{path} was changed."
    if kind == "delete_file":
        os.remove(place)
        return f"{path} was deleted."
    raise PatchError(f"An operation is create_file, update_file or delete_file, not {kind!r}.")


def _write(place: str, content: str) -> None:
    """Writes the whole file or, if that fails, nothing."""
    descriptor, beside = tempfile.mkstemp(dir=os.path.dirname(place), prefix=".patch-")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        if os.path.exists(place):
            shutil.copymode(place, beside)
        else:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, place)
    except BaseException:
        os.remove(beside)
        raise
