"""Brings the chat page into each of its states, for the pictures of the docs and for the accessibility tests.

Each scene is a generator. It operates the page until it has a state, yields it, goes on to its next state, and at last
cleans up. States that follow from one another share a scene, since opening a page costs more than they do.
"""

from collections.abc import Iterator

from tests.web.chat import Chat
from tests.web.scenes import answers, conversations, dialogs, side, troubles
from tests.web.scenes.stage import Scene, Stage

__all__ = ["SCENES", "Scene", "Stage", "states"]

SCENES: dict[tuple[str, ...], Scene] = {
    ("empty",): answers.empty,
    ("tokens",): answers.tokens,
    ("output", "stopped"): answers.output_and_stop,
    ("plot", "zoom"): answers.plot_and_zoom,
    ("table", "ledger", "variables", "share", "shared", "kernel-lost"): answers.table_and_more,
    ("html",): answers.html,
    ("error",): answers.error,
    ("long-output",): answers.long_output,
    ("thinking",): answers.thinking,
    ("approval",): answers.approval,
    ("limit",): answers.limit,
    ("verified",): answers.verified,
    ("refused",): troubles.refused,
    ("files", "files-dialog"): side.files_and_panel,
    ("artifact",): side.artifact,
    ("chart",): side.chart,
    ("steering", "steered"): conversations.steering,
    ("branch", "editing"): conversations.branch_and_edit,
    ("menu", "folder", "deleted", "bin"): conversations.menu_and_bin,
    ("search",): conversations.search,
    ("settings", "shortcuts", "palette", "conversation"): dialogs.of_the_page,
    ("profile-choice", "profiles", "profile", "linked-profile"): dialogs.profiles,
    ("export", "feedback"): conversations.export_and_feedback,
    ("lost",): troubles.lost,
    ("missing",): troubles.missing,
    ("not-isolated",): troubles.not_isolated,
    ("key",): troubles.key,
}
"""Each scene with the names of its states, in their order."""


def states(names: tuple[str, ...], stage: Stage) -> Iterator[tuple[str, Chat]]:
    """Plays a scene. Yields the name of each state, and the page that has it."""
    return zip(names, SCENES[names](stage), strict=True)
