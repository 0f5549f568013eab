"""Asks at a terminal about code and calls that wait for approval."""

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codeact import events as e
from codeact.agent.approvals import Asked
from codeact.cli.controls import TerminalText
from codeact.tools.approval import ApprovalQuestion, Ruling

__all__ = ["ask_about", "judge_at_terminal", "waiting_in"]

CHOICES = "[y]es, [n]o, [e]dit, [a]lways in this conversation, or Enter to decide later: "
LOCAL_CHOICES = "[y]es, [n]o: "

Read = Callable[[str], str]
"""Shows a prompt and returns the line that the user enters; raises `EOFError` at the end of the input."""


def waiting_in(response: e.Response | None, known: dict[str, Asked]) -> list[Asked]:
    """Returns what waits for approval after this response. `known` collects the requests of the conversation."""
    if response is None or response.status != "completed":
        return []
    known.update((item.id, item) for item in response.output if isinstance(item, Asked))
    blocks = [item for item in response.output if isinstance(item, e.CodeInterpreterCall)]
    return [known[each] for each in (blocks[-1].waits_for if blocks else ()) if each in known]


def ask_about(waiting: Sequence[Asked], read: Read, report: Callable[[str], None]) -> list[dict[str, Any]]:
    """Asks about each, and returns the decisions as items of a request; nothing for what is decided later."""
    decisions: list[dict[str, Any]] = []
    for request in waiting:
        if isinstance(request, e.ApprovalRequest):
            name = _plain(f"{request.server_label}.{request.name}")
            report(f"{name}({_plain(request.arguments)}) waits for your approval.")
        else:
            report(f"This code waits for your approval ({', '.join(map(_plain, request.reasons))}).")
        try:
            decision = _decision(request, read)
        except EOFError:
            break
        if decision is not None:
            decisions.append(decision)
    return decisions


def _decision(request: Asked, read: Read) -> dict[str, Any] | None:
    is_call = isinstance(request, e.ApprovalRequest)
    kind = "mcp_approval_response" if is_call else "codeact:approval_response"
    decision = {"type": kind, "approval_request_id": request.id, "approve": True}
    prefix = "codeact:" if is_call else ""
    while True:
        match read(CHOICES).strip().casefold():
            case "":
                return None
            case "y" | "yes":
                return decision
            case "a" | "always":
                return decision | {f"{prefix}scope": "conversation"}
            case "n" | "no":
                reason = read("Why? (Enter: no reason) ").strip()
                return decision | {"approve": False} | ({"reason": reason} if reason else {})
            case "e" | "edit":
                before = request.arguments if isinstance(request, e.ApprovalRequest) else request.code
                changed = _edited(before, ".json" if is_call else ".py")
                if changed.strip():
                    return decision | {"codeact:arguments" if is_call else "code": changed.strip("\n")}


def judge_at_terminal(read: Read, report: Callable[[str], None]) -> Callable[[ApprovalQuestion], Ruling]:
    """Returns a judge that asks the user of this terminal; the end of the input rejects."""

    def judge(question: ApprovalQuestion) -> Ruling:
        what = f"{question.name}({_plain(repr(dict(question.arguments)))})" if question.kind == "call" else "The code"
        report(f"{what} waits for your approval ({', '.join(map(_plain, question.reasons))}).")
        try:
            while (answer := read(LOCAL_CHOICES).strip().casefold()) not in ("y", "yes", "n", "no"):
                pass
            if answer.startswith("y"):
                return Ruling(True)
            return Ruling(False, read("Why? (Enter: no reason) ").strip())
        except EOFError:
            return Ruling(False, "nobody answered")

    return judge


def _edited(text: str, suffix: str) -> str:
    """Returns the text as the user's editor leaves it; empty if the editor fails."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with TemporaryDirectory() as directory:
        path = Path(directory) / f"waiting{suffix}"
        path.write_text(text, "utf-8")
        try:
            ended = subprocess.run([*editor, str(path)], check=False)  # noqa: S603  (the user's own editor)
        except OSError:
            return ""
        return path.read_text("utf-8", errors="replace") if ended.returncode == 0 else ""


def _plain(text: str) -> str:
    """Text of the model or the sandbox, without control sequences."""
    return TerminalText(colours=False).feed(text)
