"""Notes to the model about its kernel before a question: it was lost, restored, or did not go back to a branch."""

from codeact import events as e
from codeact.agent.loop import lost_kernel
from codeact.agent.waiting_block import WaitingBlock
from codeact.dialect import prompt
from codeact.events.last_code import LastCode
from codeact.ids import new_id
from codeact.observations.kernel_state import RestoredState
from codeact.runs.kernel_states import KernelState
from codeact.runs.resume_points import ResumePoint
from codeact.workspaces.workspace import Workspace

__all__ = ["UNKNOWN_HISTORY", "kernel_notes"]

UNKNOWN_HISTORY = e.Notice(
    "history_unknown",
    "The history was sent without ids of items and is not known here: code runs in a new kernel, without the variables"
    " and files of before. Send 'previous_response_id' or 'conversation', or the items with their ids.",
)


def kernel_notes(
    response: e.Response,
    code: LastCode | None,
    workspace: Workspace,
    resume_point: ResumePoint,
    state: KernelState | None,
    *,
    keeps_kernel: bool,
) -> list[e.InputMessage]:
    """Returns the notes to the model; also adds a notice to the response if the kernel was replaced or restored.

    With `keeps_kernel` the client wants the kernel as it is, with the variables of another branch for example. Call
    it before the workspace enters `state`.
    """
    if state is not None and state.block is not None:
        _runs_again(response, workspace, state.block, state.restored)
        return []
    if state is not None:
        return [_restored(response, workspace, state)]
    if (
        workspace.living is not None
        and workspace.point is not None
        and workspace.point == resume_point.code_response_id
    ):
        return []
    if keeps_kernel and workspace.living is not None and workspace.point is not None:
        return [_note(prompt.BRANCHED)]
    gone = resume_point.resent and workspace.container_id is None
    if reason := workspace.lost if gone else lost_kernel(code, workspace):
        response.notices.append(
            e.Notice("kernel_replaced", f"A new kernel was started and the variables are gone: {reason}.")
        )
        return [_note(prompt.kernel_lost(reason))]
    if resume_point.branched and workspace.container_id is not None:
        return [_note(prompt.BRANCHED)]
    return []


def _restored(response: e.Response, workspace: Workspace, state: KernelState) -> e.InputMessage:
    reason = workspace.lost if workspace.living is None and not workspace.has(state.point) else None
    if state.restored is None:
        # A sandbox of this branch is there, or no code has run yet at this point.
        empty = "" if state.point is not None else " No code has run up to here, so it is empty."
        response.notices.append(e.Notice("kernel_restored", f"The kernel went back to this point, too.{empty}"))
        return _note(f"{prompt.WENT_BACK}{empty}")
    why = f"A new kernel was started: {reason}." if reason else "The kernel went back to this point, too."
    response.notices.append(e.Notice("kernel_restored", f"{why} {state.restored.for_user()}"))
    return _note(prompt.kernel_restored(reason, state.restored.for_model()))


def _runs_again(
    response: e.Response, workspace: Workspace, block: WaitingBlock, restored: RestoredState | None
) -> None:
    """Adds the notice that a block which waited runs again. The model reads it with the block's output."""
    reason = f": {workspace.lost}" if workspace.living is None else ", since the conversation had gone on elsewhere"
    state = f" {restored.for_user()}" if restored is not None else ""
    calls = sum(call.waits_as is None for call in block.calls)
    response.notices.append(
        e.Notice(
            "kernel_restored",
            f"A new kernel was started{reason}. The state before the code that waited came back, and the code runs"
            f" again: the {calls} calls that it had made get their recorded results.{state}",
        )
    )


def _note(text: str) -> e.InputMessage:
    return e.InputMessage(id=new_id("msg"), role="developer", content=[{"type": "input_text", "text": text}])
