"""Brings the chat page into each of its states, for the pictures of the docs and for the accessibility tests.

Each scene is a generator. It operates the page until it has that state, yields it, and then cleans up.
"""

from tests.web.scenes import answers, conversations, dialogs, side, troubles
from tests.web.scenes.stage import Scene, Stage

__all__ = ["SCENES", "Scene", "Stage"]

SCENES: dict[str, Scene] = {
    "empty": answers.empty,
    "tokens": answers.tokens,
    "output": answers.output,
    "stopped": answers.stopped,
    "plot": answers.plot,
    "zoom": answers.zoom,
    "table": answers.table,
    "html": answers.html,
    "error": answers.error,
    "long-output": answers.long_output,
    "thinking": answers.thinking,
    "approval": answers.approval,
    "limit": answers.limit,
    "kernel-lost": answers.kernel_lost,
    "verified": answers.verified,
    "refused": troubles.refused,
    "files": side.files,
    "files-dialog": side.files_dialog,
    "variables": side.variables,
    "artifact": side.artifact,
    "chart": side.chart,
    "steering": conversations.steering,
    "steered": conversations.steered,
    "branch": conversations.branch,
    "editing": conversations.editing,
    "menu": conversations.menu,
    "folder": conversations.folder,
    "search": conversations.search,
    "deleted": conversations.deleted,
    "bin": conversations.bin_dialog,
    "settings": dialogs.dialog("Settings"),
    "shortcuts": dialogs.dialog("Keyboard shortcuts"),
    "palette": dialogs.by_key("Control+.", "Commands"),
    "conversation": dialogs.conversation,
    "profile-choice": dialogs.choice,
    "profiles": dialogs.profiles,
    "profile": dialogs.profile,
    "linked-profile": dialogs.linked_profile,
    "ledger": conversations.ledger,
    "feedback": conversations.feedback,
    "export": conversations.export,
    "share": conversations.share,
    "shared": conversations.shared,
    "lost": troubles.lost,
    "missing": troubles.missing,
    "not-isolated": troubles.not_isolated,
    "key": troubles.key,
}
