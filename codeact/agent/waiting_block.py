"""A block of code whose kernel was lost while it waited, with what it needs to run again."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from codeact.agent.rerunning import PastCall
from codeact.errors import InvalidRequest
from codeact.tools.function import Function
from codeact.tools.toolbox import Toolbox
from sandbox_pool.outputs import Output

__all__ = ["WaitingBlock"]

MOST_SOUGHT = 200
"""Names of files that are searched for in the code; a kernel may have any number of them."""
WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class WaitingBlock:
    """The block whose last item is `item_id`. It began in `state` (see `codeact.events.Restart`).

    `calls` are what it called until it waited, and `functions` those of its client that it can call. `differs` says how
    outputs differ from those that it had, or None. `note` tells the model that the block runs again.
    """

    item_id: str
    state: str
    code: str
    statements: bool
    calls: Sequence[PastCall]
    side_by_side: bool
    functions: Sequence[Function]
    differs: Callable[[Sequence[Output]], str | None]
    note: str

    def needs(self, names: Iterable[str]) -> list[str]:
        """Returns those of these names, of variables or files, that occur in the code.

        Names of files beyond the first `MOST_SOUGHT` count as if they did: each costs a search of the whole code.
        """
        words, sought, found = set(WORD.findall(self.code)), 0, []
        for name in names:
            is_file = name not in words and not name.isidentifier()
            sought += is_file
            if name in words or (is_file and (sought > MOST_SOUGHT or name in self.code)):
                found.append(name)
        return found

    def joined(self, toolbox: Toolbox) -> Toolbox:
        """Returns the functions of a request, and those of the block that the request does not name again."""
        more = [each for each in self.functions if each.path not in toolbox]
        try:
            return Toolbox([*toolbox.functions, *more]) if more else toolbox
        except InvalidRequest:  # One of them has the name of a server's now.
            return toolbox
