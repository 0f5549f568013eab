"""One sign-in that a browser has begun: what the browser keeps, encrypted, until it comes back from the provider.

The server keeps nothing, so that strangers can begin as many sign-ins as they like. The cookie binds the provider's
answer to the browser that asked (login CSRF), and holds the nonce and the PKCE verifier.
"""

import secrets
import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from codeact.sealing import PREFIX, Sealer, Unsealable
from codeact.server.auth.cookies import cookie_of, delete_cookie, set_cookie
from codeact.server.login.errors import LoginExpired

__all__ = ["Attempt", "begin", "forget", "remember", "resume"]

COOKIE = "codeact_login"
LASTS_S = 600
KIND = "login"
MOST_CHARS = 4_000


class Attempt(msgspec.Struct):
    """`next` is the path to go to afterwards. `setup` is the code of the first admin, if any.

    `earlier` is the hash of the session that the browser had, which ends with this sign-in: the browser does not send
    that session's cookie when it comes back from the provider (`SameSite=Strict`).
    """

    state: str
    nonce: str
    verifier: str
    next: str
    setup: str
    earlier: str
    begun_at: float


def begin(next_path: str, setup: str, earlier: str) -> Attempt:
    """A new sign-in, with values that nobody can guess."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    return Attempt(state, nonce, verifier, next_path, setup, earlier, time.time())


def remember(attempt: Attempt, response: Response, sealer: Sealer) -> None:
    """Has the browser keep the sign-in for ten minutes. `Lax`: it is sent when the provider sends the browser back."""
    sealed = sealer.seal(KIND, msgspec.json.encode(attempt), owner="").rstrip("=")  # which would be quoted
    set_cookie(response, COOKIE, sealed, max_age_s=LASTS_S, same_site="lax")


def resume(request: Request, state: str, sealer: Sealer) -> Attempt:
    """The sign-in that this browser has begun with this state. Raises `LoginExpired`."""
    text = "This browser did not begin this sign-in, or more than ten minutes ago. Begin again."
    sealed = cookie_of(request, COOKIE)
    if not sealed or len(sealed) > MOST_CHARS:
        raise LoginExpired(text)
    sealed += "=" * (-(len(sealed) - len(PREFIX)) % 4)
    try:
        attempt = msgspec.json.decode(sealer.open(KIND, sealed, owner="").content, type=Attempt)
    except (Unsealable, msgspec.DecodeError):
        raise LoginExpired(text) from None
    if not secrets.compare_digest(attempt.state.encode(), state.encode()):
        raise LoginExpired(text)
    if not 0 <= time.time() - attempt.begun_at <= LASTS_S:
        raise LoginExpired(text)
    return attempt


def forget(response: Response) -> None:
    """Has the browser forget its sign-in."""
    delete_cookie(response, COOKIE)
