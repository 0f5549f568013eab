"""The keys under which the middleware notes in a scope who makes the request."""

__all__ = ["CALLER", "PASSED_ON"]

CALLER = "codeact.caller"
"""The key of the `Caller` in a scope."""
PASSED_ON = "codeact.passed_on"
"""A key in the scope of a request that another server has passed on; see `codeact.server.peers.inbound`."""
