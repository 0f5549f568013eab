"""The caller of a request: its owner, and what that owner may do."""

from dataclasses import dataclass
from datetime import datetime

from starlette.requests import HTTPConnection

from codeact.owners import account_of
from codeact.server.auth.embed import Grant
from codeact.server.auth.scope_keys import CALLER
from codeact.store import OwnerLimits

__all__ = ["Caller", "caller_of", "owner_of"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request. `credential_id` is the key's or session's id; None if no key is required and none was sent.

    `limits` are the key's own, completed by the settings' defaults. `expires_at` is when the credential expires; None:
    never. `grant` is set for embed tokens. `acting`: an operator acts for this owner. `person` is set if somebody has
    signed in, and `admin` if they may manage people. `credential_id` is also `person` if a proxy has signed them in.
    """

    owner: str
    operator: bool
    credential_id: str | None
    limits: OwnerLimits
    own_limits: OwnerLimits
    expires_at: datetime | None = None
    grant: Grant | None = None
    acting: bool = False
    person: str | None = None
    admin: bool = False

    @property
    def session_id(self) -> str | None:
        """The session of the person who has signed in; None if a proxy has signed them in, or if it is no person."""
        return self.credential_id if self.person is not None and self.credential_id != self.person else None

    @property
    def accounts(self) -> list[tuple[str, OwnerLimits]]:
        """The owners whose use this caller adds to, with their limits: itself and, for an embed token, its account."""
        account = [(account_of(self.owner), self.grant.account_limits)] if self.grant is not None else []
        return [(self.owner, self.limits), *account]


def caller_of(connection: HTTPConnection) -> Caller:
    """The caller that `Authenticate` has identified."""
    caller: Caller = connection.scope[CALLER]
    return caller


def owner_of(connection: HTTPConnection) -> str:
    """The owner of the request. Without keys, everybody is `local`."""
    return caller_of(connection).owner
