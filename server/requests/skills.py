"""Finds the skills that a request names, or carries as archives, for its sandbox."""

import base64
import hashlib
from collections.abc import Sequence
from functools import partial

import anyio

from codeact.concurrency.concurrently import gathered
from codeact.errors import InvalidRequest, NotFound
from codeact.server.requests.tools import InlineSkill, SkillReference
from codeact.skills.bundle import ARCHIVE_BYTES, Bundle, packed, read_zip
from codeact.skills.staged import MOST_SKILLS, StagedSkill
from codeact.store import Store

__all__ = ["staged_skills"]

PLACE = "tools.container.skills"


async def staged_skills(
    skills: Sequence[SkillReference | InlineSkill], store: Store, *, owner: str
) -> list[StagedSkill]:
    """The skills, in the request's order. Raises `NotFound` and `InvalidRequest`."""
    if len(skills) > MOST_SKILLS:
        raise InvalidRequest(f"A request may name {MOST_SKILLS} skills.", param=PLACE)
    staged = await gathered(
        [partial(_staged, skill, f"{PLACE}[{at}]", store, owner) for at, skill in enumerate(skills)]
    )
    names = [skill.name for skill in staged]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidRequest(f"Two skills have the name '{twice}'.", param=PLACE)
    return staged


async def _staged(skill: SkillReference | InlineSkill, param: str, store: Store, owner: str) -> StagedSkill:
    if isinstance(skill, InlineSkill):
        return await _inline(skill, param)
    version = str(skill.version) if skill.version is not None else None
    try:
        found = await store.skills.version(skill.skill_id, version, owner=owner)
    except NotFound as error:
        raise NotFound(error.message, param=param) from None

    async def load() -> bytes:
        return (await store.get_blob(found.sha256, owner=owner)).data

    return StagedSkill(found.name, found.description, found.sha256, load)


async def _inline(skill: InlineSkill, param: str) -> StagedSkill:
    if len(skill.source.data) > ARCHIVE_BYTES * 4 // 3 + 4:
        raise InvalidRequest(f"The archive is over {ARCHIVE_BYTES:,} bytes.", param=param)
    bundle = await anyio.to_thread.run_sync(_read, skill.source.data, param)
    if bundle.name != skill.name:
        raise InvalidRequest(f"The SKILL.md says 'name: {bundle.name}', not '{skill.name}'.", param=param)
    content = await anyio.to_thread.run_sync(packed, bundle)

    async def load() -> bytes:
        return content

    return StagedSkill(skill.name, skill.description, hashlib.sha256(content).hexdigest(), load)


def _read(data: str, param: str) -> Bundle:
    """Reads an archive in base64. Raises `InvalidRequest`. Blocks for up to a second."""
    try:
        archive = base64.b64decode(data, validate=True)
    except ValueError:  # Characters outside of ASCII raise it; `binascii.Error` is a subclass.
        raise InvalidRequest("'source.data' is not base64.", param=param) from None
    return read_zip(archive, param=param)
