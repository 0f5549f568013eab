"""`recall`: a function with which code gets the output of an earlier block that the prompt leaves out."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from codeact.dialect.base import Entry
from codeact.events import CodeInterpreterCall
from codeact.tools.function import Function, FunctionError

__all__ = ["RECALL", "numbered", "recall_function"]

RECALL = "recall"
MOST_CHARS = 200_000
"""Limit for the result of one call."""
DESCRIPTION = (
    "Returns as text what the block of code with this number showed, where the conversation says that it is left out."
)
PARAMETERS = {
    "type": "object",
    "properties": {"n": {"type": "integer", "description": "The number that stands where the output was."}},
    "required": ["n"],
}


def numbered(items: Sequence[Entry]) -> list[CodeInterpreterCall]:
    """Returns the blocks of code in all items of a conversation; a block's number is its position, from 1."""
    return [item for item in items if isinstance(item, CodeInterpreterCall)]


def recall_function(items: Callable[[], Sequence[Entry]]) -> Function:
    """Creates `recall` for one conversation. `items` returns all its items so far; nothing else can be recalled."""

    async def answer(arguments: dict[str, Any]) -> str:
        blocks, number = numbered(items()), arguments.get("n")
        if not isinstance(number, int) or isinstance(number, bool):
            raise FunctionError(f"{RECALL}(n): n is the number of a block of code.")
        if not 1 <= number <= len(blocks):
            raise FunctionError(f"{RECALL}({str(number)[:20]}): blocks 1 to {len(blocks)} have run.")
        block = blocks[number - 1]
        shown = block.observation or "The block was not run to its end."
        return json.dumps(f"Code:\n{block.code}\n\n{shown}"[:MOST_CHARS])

    return Function(
        RECALL, DESCRIPTION, PARAMETERS, answer=answer, returns={"type": "string"}, gives_way=True, is_own=True
    )
