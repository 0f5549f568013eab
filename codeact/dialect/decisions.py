"""What the model reads about approval: code and calls that were rejected, changed, or never decided."""

from collections.abc import Iterable, Mapping

from codeact.events import Approval, ApprovalRequest, CodeApproval, CodeApprovalRequest
from codeact.observations.observation import HEADER
from codeact.observations.plaintext import excerpt

__all__ = ["changed_code", "rejected_code", "waited_in_vain"]

CODE_CHARS, ARGUMENTS_CHARS = 12_000, 500


def rejected_code(reason: str | None) -> str:
    """Returns the observation of a block that was not run, because it was not approved."""
    why = f" The reason: {reason}" if reason else ""
    return f"{HEADER} this block was rejected, and nothing of it was run.{why}"


def changed_code(code: str) -> str:
    """Returns the end of an observation that tells which code ran in place of the model's own."""
    return f"The user changed your block before it ran. What ran:\n{excerpt(code, CODE_CHARS)}"


def waited_in_vain(
    requests: Iterable[ApprovalRequest | CodeApprovalRequest], decisions: Mapping[str, Approval | CodeApproval]
) -> str:
    """Returns the observation of code that waited for approval and did not go on."""
    lines = []
    for request in requests:
        decision = decisions.get(request.id)
        if isinstance(request, CodeApprovalRequest):
            return _of_code(decision)
        lines.append(_of_call(request, decision))
    return f"{HEADER} the code waited for approval and could not go on, since its kernel is gone.\n" + "\n".join(lines)


def _of_code(decision: Approval | CodeApproval | None) -> str:
    if decision is None:
        return (
            f"{HEADER} this block needs the user's approval, and the user went on without a decision; it was not run."
        )
    if not decision.approve:
        return rejected_code(decision.reason)
    return f"{HEADER} this block was approved, but was not run to its end."


def _of_call(request: ApprovalRequest, decision: Approval | CodeApproval | None) -> str:
    call = f"{request.name}({excerpt(request.arguments, ARGUMENTS_CHARS)})"
    if decision is None:
        return f"{call} was not called: the user went on without a decision."
    if not decision.approve:
        why = f" The reason: {decision.reason}" if decision.reason else ""
        return f"{call} was rejected, and not called.{why}"
    arguments = decision.arguments if isinstance(decision, Approval) else None
    changed = f", with these arguments: {excerpt(arguments, ARGUMENTS_CHARS)}" if arguments is not None else ""
    return f"{call} was not called. The user has approved it{changed}: call it again in new code, and nobody is asked."
