"""`/login` and `/login/callback`: people sign in with the OpenID provider, and get a session."""

import re

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from codeact.disclosure import disclosed
from codeact.errors import CodeActError
from codeact.login_settings import SESSION_COOKIE
from codeact.roles import role_of
from codeact.server.auth.auth import bearer_of, session_of
from codeact.server.auth.cookies import set_cookie
from codeact.server.base_url import base_url
from codeact.server.login import attempt as attempts
from codeact.server.login.attempt import Attempt
from codeact.server.login.error_page import error_page
from codeact.server.login.errors import LoginFailed, LoginRefused
from codeact.server.login.provider import Identity, Provider
from codeact.server.services import Services
from codeact.store import Person, Store
from codeact.store.repositories.access import hash_of
from codeact.store.repositories.people import owner_of_subject

__all__ = ["routes"]

CALLBACK = "/login/callback"
NEXT = re.compile(r"/((c|profile)/[A-Za-z0-9_-]{1,80})?")
"""The pages to which a sign-in may lead, so that a link to `/login` leads nowhere else."""
DASHBOARD = "dashboard"
MOST_CHARS = 4_000
SETUP = re.compile(r"[A-Za-z0-9_-]{1,100}")
MOST_BROWSER_CHARS = 200
NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


async def begin(request: Request) -> Response:
    """`GET /login?next=…`: sends the browser to the provider. `setup` is the code of the first admin."""
    services: Services = request.app.state.codeact
    next_page, setup = request.query_params.get("next", "/"), request.query_params.get("setup", "")
    begun = attempts.begin(
        next_page if next_page == DASHBOARD or NEXT.fullmatch(next_page) else "/",
        setup if SETUP.fullmatch(setup) else "",
        _session_hash(request),
    )
    try:
        if services.provider is None:
            return await _behind_proxy(request, services, begun)
        url = await services.provider.authorization_url(
            state=begun.state, nonce=begun.nonce, verifier=begun.verifier, redirect_uri=f"{base_url()}{CALLBACK}"
        )
        sealer = await (await services.store.get()).sealing.sealer()
    except CodeActError as error:
        return _failed(services, error)
    response = RedirectResponse(url, 303, NO_STORE)
    attempts.remember(begun, response, sealer)
    return response


async def finish(request: Request) -> Response:
    """`GET /login/callback`: the provider sends the browser back here with a code."""
    services: Services = request.app.state.codeact
    response: Response
    try:
        if services.provider is None:
            raise LoginFailed("Nobody signs in here: CODEACT_OIDC_ISSUER is not set.")
        store = await services.store.get()
        begun, identity = await _identified(request, services.provider, store)
        person = await _admitted(services, store, identity, begun.setup)
        response = RedirectResponse(_address(services, begun.next), 303, NO_STORE)
        await _open_session(request, services, store, person, begun, response)
    except CodeActError as error:
        response = _failed(services, error)
        if not isinstance(error, LoginFailed):
            return response
    attempts.forget(response)
    return response


async def _identified(request: Request, provider: Provider, store: Store) -> tuple[Attempt, Identity]:
    query = {name: request.query_params.getlist(name) for name in ("state", "code", "iss", "error")}
    if any(len(values) > 1 or len("".join(values)) > MOST_CHARS for values in query.values()):
        raise LoginFailed("The provider's answer has parameters that are too long, or twice.")
    state, code, issuer, refused = (
        query[name][0] if query[name] else None for name in ("state", "code", "iss", "error")
    )
    begun = attempts.resume(request, state or "", await store.sealing.sealer())
    if refused is not None:
        text = "You did not sign in at the provider." if refused == "access_denied" else "The provider refused."
        raise LoginRefused(f"{text} Begin again.")
    if not code:
        raise LoginFailed("The provider's answer has no code.")
    return begun, await provider.identity(
        code, nonce=begun.nonce, verifier=begun.verifier, redirect_uri=f"{base_url()}{CALLBACK}", issuer=issuer
    )


def _failed(services: Services, error: CodeActError) -> Response:
    """The page for a sign-in that did not work. Strangers see it, so other errors than ours are one sentence."""
    services.audit.count("login.failed", error.code, status=error.status)
    return error_page(error.message if isinstance(error, LoginFailed) else disclosed(error)[1], error.status)


async def _admitted(services: Services, store: Store, identity: Identity, setup: str) -> Person:
    """The person, stored, if the rules let them in. Otherwise ends what they had, and raises `LoginRefused`."""
    settings = services.settings
    role = role_of(settings.login_rules, groups=identity.groups, email=identity.email)
    if role is None:
        await store.people.shut_out(owner_of_subject(identity.issuer, identity.subject))
        raise LoginRefused("Your account may not use this server. Ask whoever runs it to let your group in.")
    person = await store.people.sign_in(
        issuer=identity.issuer, subject=identity.subject, name=identity.name, email=identity.email, role=role
    )
    if person.disabled:
        raise LoginRefused("Your account is disabled on this server; an admin of it can enable it.")
    return await _with_setup(services, store, person, setup)


async def _with_setup(services: Services, store: Store, person: Person, setup: str) -> Person:
    """Makes the person an admin if the code of the first admin is valid, and there is no admin."""
    if not setup:
        return person
    settings = services.settings
    if settings.login_admins or not await store.people.use_setup_code(setup, settings.login_issuers):
        text = "The link for the first admin was used already, or is too old. The server prints a new one at its start"
        raise LoginFailed(f"{text} if there is no admin.")
    services.audit.record_for(person.owner, "person.setup", person.owner, status=200)
    return await store.people.change(person.owner, {"granted": "admin"})


async def _open_session(
    request: Request, services: Services, store: Store, person: Person, begun: Attempt, response: Response
) -> None:
    settings = services.settings
    for earlier in filter(None, (_session_hash(request), begun.earlier)):
        await store.access.end_session(earlier)
    address = request.client.host if request.client is not None else ""
    session, secret = await store.people.create_session(
        person,
        parent_id=settings.login_parent,
        lasts=settings.login_lasts,
        address=address,
        browser=request.headers.get("user-agent", "")[:MOST_BROWSER_CHARS],
    )
    lasts_s = int(settings.login_lasts.total_seconds())
    set_cookie(response, SESSION_COOKIE, secret, max_age_s=lasts_s, same_site="strict")
    services.audit.record(bearer_of(settings, session), "login", session.id)


def _session_hash(request: Request) -> str:
    """The hash of the session in the request's cookie; empty if there is none."""
    secret = session_of(request)
    return hash_of(secret) if secret else ""


async def _behind_proxy(request: Request, services: Services, begun: Attempt) -> Response:
    """Where a proxy signs people in, `/login` only takes the code of the first admin."""
    if services.header_login is None or (person := await services.header_login.person(request)) is None:
        raise LoginFailed("Nobody signs in here: CODEACT_OIDC_ISSUER is not set.")
    await _with_setup(services, await services.store.get(), person, begun.setup)
    services.header_login.forget()
    return RedirectResponse(_address(services, begun.next), 303, NO_STORE)


def _address(services: Services, next_page: str) -> str:
    if next_page == DASHBOARD:
        return services.settings.dashboard_url or f"{base_url()}/"
    return f"{base_url()}{next_page}"


routes = [
    Route("/login", begin, methods=["GET"]),
    Route(CALLBACK, finish, methods=["GET"]),
]
