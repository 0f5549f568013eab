"""Skills for one answer: what the model is told of them, and how they get into the sandbox."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["MOST_SKILLS", "StagedSkill", "skills_for_model"]

MOST_SKILLS = 8
"""Per request. Their files must fit into the sandbox's folder for them."""


@dataclass(frozen=True, slots=True)
class StagedSkill:
    """One version of a skill. `version_id` names its content, and `load` gives it as an archive of `bundle.packed`."""

    name: str
    description: str
    version_id: str
    load: Callable[[], Awaitable[bytes]] = field(compare=False)


def skills_for_model(skills: Sequence[StagedSkill], root: str) -> str | None:
    """The model's instructions about the skills in the folder `root`; None if there are none."""
    if not skills:
        return None
    lines = [f"- {skill.name}: {json.dumps(skill.description, ensure_ascii=False)}" for skill in skills]
    return (
        "Skills are folders with instructions and files, which you can read and not change. Before a task that one of"
        f" them describes, read its {root}/NAME/SKILL.md by code, and follow it. You have:\n" + "\n".join(lines)
    )
