"""The error for an answer that cannot be verified."""

from codeact.errors import InvalidRequest

__all__ = ["NotVerifiable"]


class NotVerifiable(InvalidRequest):
    """An answer that cannot be run again. `code` says why; docs/verify.md lists the codes."""

    code = "not_verifiable"
    status = 409
