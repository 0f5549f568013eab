"""Reads who has signed in at a trusted proxy, from headers that only such a proxy may send."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from codeact.login_settings import PROXY
from codeact.roles import role_of
from codeact.server.auth.origin_check import Forbidden
from codeact.server.auth.proxies import FROM_PROXY
from codeact.server.errors import Unauthorized
from codeact.settings import Settings
from codeact.store import Person, Store
from codeact.store.repositories.people import owner_of_subject

__all__ = ["HeaderLogin"]

REMEMBERED_S = 30.0
"""A person is looked up again after this time: so long a disabled one may go on."""
MOST_REMEMBERED = 5_000
MOST_USER_CHARS, MOST_GROUPS_CHARS = 255, 16_000


@dataclass(frozen=True, slots=True)
class _Known:
    """`person` None: may not use this server."""

    person: Person | None
    until: float


class HeaderLogin:
    """Finds the person of a request, and stores who came. Safe for concurrent calls."""

    def __init__(self, store: Callable[[], Awaitable[Store]], settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._known: OrderedDict[tuple[str, str, str], _Known] = OrderedDict()

    async def person(self, connection: HTTPConnection) -> Person | None:
        """The person whom the proxy names; None if the request comes from elsewhere, or names nobody.

        Raises `Unauthorized` for headers that no proxy of this kind sends, and `Forbidden` if the person may not use
        this server.
        """
        if not connection.scope.get(FROM_PROXY):
            return None
        settings = self._settings
        user = self._one(connection, settings.login_header, MOST_USER_CHARS)
        if not user:
            return None
        email = self._one(connection, settings.login_header_email, MOST_USER_CHARS)
        groups = self._one(connection, settings.login_header_groups, MOST_GROUPS_CHARS)
        known = self._known.get((user, email, groups))
        if known is None or known.until < time.monotonic():
            known = self._remember((user, email, groups), await self._look_up(user, email, groups))
        if known.person is None:
            text = f"'{user}' may not use this server; CODEACT_LOGIN_USERS says who may."
            raise Forbidden(text, code="login_refused")
        if known.person.disabled:
            raise Forbidden("Your account is disabled; an admin of this server can enable it.", code="person_disabled")
        return known.person

    def forget(self) -> None:
        """Has everybody looked up anew."""
        self._known.clear()

    async def _look_up(self, user: str, email: str, groups: str) -> Person | None:
        """The person; None if the rules let them in no more, and then their keys have ended."""
        names = frozenset(filter(None, (one.strip() for one in groups.split(","))))
        role = role_of(self._settings.login_rules, groups=names, email=email)
        people = (await self._store()).people
        if role is None:
            await people.shut_out(owner_of_subject(PROXY, user))
            return None
        return await people.sign_in(issuer=PROXY, subject=user, name=user, email=email, role=role)

    def _remember(self, key: tuple[str, str, str], person: Person | None) -> _Known:
        known = self._known[key] = _Known(person, time.monotonic() + REMEMBERED_S)
        self._known.move_to_end(key)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return known

    @staticmethod
    def _one(connection: HTTPConnection, name: str | None, most_chars: int) -> str:
        values = connection.headers.getlist(name) if name is not None else []
        if len(values) > 1:
            # One of them is the client's: the proxy added its own instead of replacing it.
            raise Unauthorized(f"The header {name} came {len(values)} times. The proxy must replace what clients send.")
        text = values[0].encode("latin-1").decode(errors="replace").strip() if values else ""
        if len(text) > most_chars or not text.isprintable():
            raise Unauthorized(f"The header {name} is too long, or has characters that cannot be shown.")
        return text
