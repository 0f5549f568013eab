"""What a model has to know of its kernel before it reads a question: the kernel is new, or older than the question."""

from codeact import events as e
from codeact.agent.loop import lost_kernel
from codeact.dialect import prompt
from codeact.events.last_code import LastCode
from codeact.ids import new_id
from codeact.runs.resume_points import ResumePoint
from codeact.workspaces.workspace import Workspace

__all__ = ["kernel_notes"]


def kernel_notes(
    response: e.Response, code: LastCode | None, workspace: Workspace, resume_point: ResumePoint
) -> list[e.InputMessage]:
    """The notes to the model; a kernel that was replaced becomes a notice of the response, too."""
    gone = resume_point.retold and workspace.container_id is None
    if reason := workspace.lost if gone else lost_kernel(code, workspace):
        response.notices.append(
            e.Notice("kernel_replaced", f"A new kernel was started and the variables are gone: {reason}.")
        )
        return [_note(prompt.kernel_lost(reason))]
    if resume_point.branched and workspace.container_id is not None:
        return [_note(prompt.BRANCHED)]
    return []


def _note(text: str) -> e.InputMessage:
    return e.InputMessage(id=new_id("msg"), role="developer", content=[{"type": "input_text", "text": text}])
