"""Who makes a request: the owner that it counts for, and what that owner may do."""

from dataclasses import dataclass
from datetime import datetime

from starlette.requests import HTTPConnection

from codeact.owners import account_of
from codeact.server.auth.embed import Grant
from codeact.store import OwnerLimits

__all__ = ["Caller", "caller_of", "owner_of"]


@dataclass(frozen=True, slots=True)
class Caller:
    """`credential_id` is the key's or the session's id; None where no key is needed and none was given.

    `limits` are the key's own, and the settings' where it has none. `expires_at` is when it ends; None: not by itself.
    `grant` is there for who came with an embed token. `acting`: an operator who acts for this owner.
    """

    owner: str
    operator: bool
    credential_id: str | None
    limits: OwnerLimits
    own_limits: OwnerLimits
    expires_at: datetime | None = None
    grant: Grant | None = None
    acting: bool = False

    @property
    def accounts(self) -> list[tuple[str, OwnerLimits]]:
        """For whom the caller's use counts, and up to which limits."""
        account = [(account_of(self.owner), self.grant.account_limits)] if self.grant is not None else []
        return [(self.owner, self.limits), *account]


def caller_of(connection: HTTPConnection) -> Caller:
    """Who `Authenticate` found out."""
    caller: Caller = connection.scope["codeact.caller"]
    return caller


def owner_of(connection: HTTPConnection) -> str:
    """The owner that the request's key stands for; without keys everybody is `local`."""
    return caller_of(connection).owner
