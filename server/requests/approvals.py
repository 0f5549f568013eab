"""What a request says about approval: its own rules, and whether its caller may decide."""

from codeact.errors import CodeActError, InvalidRequest
from codeact.events import Approval, CodeApproval
from codeact.server.auth.caller import Caller
from codeact.server.requests.create import CreateRequest
from codeact.settings import Settings
from codeact.tools.approval import ApprovalPolicy, policy_of

__all__ = ["check_decisions", "decisions_of", "request_policy"]


class ApprovalForbidden(CodeActError):
    """Visitors of embedding pages decide only where CODEACT_APPROVAL_EMBED allows it."""

    code = "approval_forbidden"
    status = 403


def request_policy(request: CreateRequest) -> ApprovalPolicy:
    """The rules that the request adds to the operator's. Raises `InvalidRequest` for a rule that does not exist."""
    asked = request.approval or ()
    try:
        return policy_of([asked] if isinstance(asked, str) else asked)
    except ValueError as error:
        raise InvalidRequest(f"'codeact:approval' is not valid: {error}.", param="codeact:approval") from None


def decisions_of(request: CreateRequest) -> list[tuple[str, str]]:
    """The decisions in the request: the id of what waits, and `approve`, `edit` or `reject`."""
    found = [item for item in request.messages if isinstance(item, Approval | CodeApproval)]
    return [(item.approval_request_id, _action(item)) for item in found]


def check_decisions(request: CreateRequest, caller: Caller, settings: Settings) -> None:
    """Raises `ApprovalForbidden` if the request decides something that its caller may not decide."""
    if caller.grant is not None and not settings.approval_embed and decisions_of(request):
        raise ApprovalForbidden(
            "Visitors of this page cannot approve (CODEACT_APPROVAL_EMBED); it waits for the page's operator."
        )


def _action(item: Approval | CodeApproval) -> str:
    changed = item.arguments if isinstance(item, Approval) else item.code
    return "reject" if not item.approve else "approve" if changed is None else "edit"
