"""Re-authenticates an open socket, until the key or token that opened it expires."""

from datetime import UTC, datetime

import anyio
from starlette.websockets import WebSocket

from codeact.errors import InvalidRequest
from codeact.server.auth.auth import authenticate, identify
from codeact.server.auth.caller import Caller, caller_of
from codeact.server.auth.origin_check import Forbidden
from codeact.server.errors import Unauthorized

__all__ = ["Ended", "SocketAuth"]


class Ended(Unauthorized):
    """The key or token that opened the socket is no longer valid."""


class SocketAuth:
    """The authentication of one socket. Its owner never changes, but a fresh embed token may replace the first one."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._caller = caller_of(websocket)
        self._fresh_token: str | None = None
        self._refreshed = anyio.Event()

    @property
    def owner(self) -> str:
        return self._caller.owner

    async def check(self) -> Caller:
        """The caller, checked against the database now. Raises `Ended`."""
        try:
            if self._fresh_token is not None:
                return await identify(self._websocket.app.state.codeact, key=self._fresh_token)
            if self._caller.person is not None and self._caller.session_id is None:
                return await self._person_of_proxy(self._caller.person)
            return await authenticate(self._websocket)
        except Unauthorized as error:
            raise Ended(error.message) from None

    async def _person_of_proxy(self, owner: str) -> Caller:
        """The caller, unless an admin has disabled the account or taken rights away.

        The proxy's headers are those of the socket's beginning, so groups are not read from them again.
        """
        store = await self._websocket.app.state.codeact.store.get()
        person, caller = await store.people.get(owner), self._caller
        if person is None or person.disabled:
            raise Ended("The account is disabled; an admin of this server can enable it.")
        if (caller.operator and person.rights == "user") or (caller.admin and person.rights != "admin"):
            raise Ended("The account has lost rights. Connect again.")
        return caller

    async def refresh(self, token: object) -> datetime:
        """Replaces an embed token that expires soon with another of the same user and origin.

        Returns when the new one expires. Raises `InvalidRequest`, `Unauthorized` or `Forbidden`; the old token then
        stays valid.
        """
        if not isinstance(token, str):
            raise InvalidRequest("'token' is missing.", param="token")
        known, fresh = self._caller, await identify(self._websocket.app.state.codeact, key=token)
        if fresh.grant is None or known.grant is None or fresh.expires_at is None:
            raise Forbidden("Only an embed token can be refreshed, by another one.", code="embed_tokens_only")
        if (fresh.owner, fresh.grant.origin) != (known.owner, known.grant.origin):
            raise Forbidden("The token is another user's, or for another page.", code="another_session")
        self._caller, self._fresh_token = fresh, token
        self._refreshed.set()
        return fresh.expires_at

    async def expiry(self) -> None:
        """Returns when the credential has expired without a fresh one; never returns if it does not expire."""
        while True:
            self._refreshed = anyio.Event()
            expires_at = self._caller.expires_at
            left_s = None if expires_at is None else (expires_at - datetime.now(UTC)).total_seconds()
            try:
                with anyio.fail_after(left_s):
                    await self._refreshed.wait()
            except TimeoutError:
                return
