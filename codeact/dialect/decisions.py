"""What the model reads about approval: code and calls that were rejected, changed, or never decided."""

from collections.abc import Iterable, Mapping

from codeact.events import Approval, ApprovalRequest, CodeApproval, CodeApprovalRequest
from codeact.observations.observation import HEADER
from codeact.observations.plaintext import excerpt

__all__ = ["changed_code", "rejected_code", "waited_in_vain"]

CODE_CHARS, ARGUMENTS_CHARS = 12_000, 500


def rejected_code(reason: str | None, *, rest_from: int | None = None) -> str:
    """Returns the observation of a block that was not run, because it was not approved.

    `rest_from` is the line from which on it was not run, if the lines before have run while the model wrote.
    """
    why = f" The reason: {reason}" if reason else ""
    if rest_from is not None:
        return f"The block from line {rest_from:,} on was rejected, and nothing of that was run.{why}"
    return f"{HEADER} this block was rejected, and nothing of it was run.{why}"


def changed_code(code: str) -> str:
    """Returns the end of an observation that tells which code ran in place of the model's own."""
    return f"The user changed your block before it ran. What ran:\n{excerpt(code, CODE_CHARS)}"


def waited_in_vain(
    requests: Iterable[ApprovalRequest | CodeApprovalRequest],
    decisions: Mapping[str, Approval | CodeApproval],
    *,
    is_rest: bool = False,
) -> str:
    """Returns the observation of code that waited for approval and did not go on.

    `is_rest`: the lines before it have run, and the observation of those comes first.
    """
    lines = []
    for request in requests:
        decision = decisions.get(request.id)
        if isinstance(request, CodeApprovalRequest):
            return _of_code(decision, is_rest=is_rest)
        lines.append(_of_call(request, decision))
    return f"{HEADER} the code waited for approval and could not go on, since its kernel is gone.\n" + "\n".join(lines)


def _of_code(decision: Approval | CodeApproval | None, *, is_rest: bool) -> str:
    what = "The rest of the block" if is_rest else f"{HEADER} this block"
    if decision is None:
        return f"{what} needs the user's approval, and the user went on without a decision; it was not run."
    if not decision.approve:
        why = f" The reason: {decision.reason}" if decision.reason else ""
        return f"{what} was rejected, and was not run.{why}" if is_rest else rejected_code(decision.reason)
    return f"{what} was approved, but was not run to its end."


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
