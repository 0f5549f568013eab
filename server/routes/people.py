"""`/v1/people`: admins see who has signed in, give roles, and disable accounts."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest, NotFound
from codeact.roles import Role
from codeact.server.auth.caller import caller_of
from codeact.server.auth.origin_check import Forbidden
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.parameters import checked, read_json, read_parameters
from codeact.server.services import Services
from codeact.store import Person

__all__ = ["routes"]

BODY_BYTES = 10_000


class PeopleQuery(msgspec.Struct):
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ChangePerson(msgspec.Struct, kw_only=True):
    """`role` is given in addition to that of the person's groups; null takes it away. What is missing stays."""

    role: Role | UnsetType | None = UNSET
    disabled: bool | UnsetType = UNSET


@operation(dict[str, Any], query=PeopleQuery)
async def list_people(request: Request) -> Response:
    """`GET /v1/people`: who has signed in, latest first. For admins."""
    services: Services = request.app.state.codeact
    query = read_parameters(request, PeopleQuery)
    if not caller_of(request).admin:
        raise Forbidden("Only admins see who has signed in.", code="admins_only")
    found = await (await services.store.get()).people.latest(limit=query.limit)
    return json_response({"object": "list", "data": [_shape(one) for one in found]})


@operation(dict[str, Any], body=ChangePerson)
async def change_person(request: Request) -> Response:
    """`PATCH /v1/people/{owner}`: gives a role, or disables the account and its keys. The person is signed out."""
    services: Services = request.app.state.codeact
    caller, owner = caller_of(request), request.path_params["owner"]
    if not caller.admin:
        raise NotFound(f"Nobody has signed in as '{owner}'.", param="owner")
    body = checked(await read_json(request, BODY_BYTES), ChangePerson)
    if owner == caller.person:
        raise InvalidRequest("Another admin changes your account, so that one always remains.", param="owner")
    changes = {"granted": body.role, "disabled": body.disabled}
    given = {name: value for name, value in changes.items() if value is not UNSET}
    if not given:
        raise InvalidRequest("Say what to change: 'role' or 'disabled'.", param="role")
    people = (await services.store.get()).people
    before = await people.get(owner)
    person = await people.change(owner, given)
    if before is not None and before.rights == "admin" and not await _has_admin(services):
        # Two admins took each other's role at the same moment.
        await people.change(owner, {"granted": before.granted, "disabled": before.disabled})
        raise InvalidRequest("Nobody would be an admin then. The account stays as it was.", code="last_admin")
    if services.header_login is not None:
        services.header_login.forget()
    return json_response(_shape(person))


async def _has_admin(services: Services) -> bool:
    settings = services.settings
    people = (await services.store.get()).people
    return await people.has_admin(settings.login_issuers, by_rules=bool(settings.login_admins))


def _shape(person: Person) -> dict[str, Any]:
    return {
        "object": "codeact:person",
        "owner": person.owner,
        "name": person.name,
        "email": person.email,
        "role": person.rights,
        "role_of_groups": person.role,
        "role_given": person.granted,
        "disabled": person.disabled,
        "created_at": person.created_at.timestamp(),
        "seen_at": person.seen_at.timestamp(),
    }


routes = [
    Route("/v1/people", list_people, methods=["GET"]),
    Route("/v1/people/{owner}", change_person, methods=["PATCH"]),
]
