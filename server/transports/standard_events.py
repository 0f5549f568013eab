"""Selects the events for a client: only the standard's, or also our own.

Official clients' helpers raise for unknown event types, so a request gets our own events only if its `include` contains
`codeact:events`. Without them, the numbers of the standard's events are reduced by the number of our events before
them, so that they have no gaps; a client resumes by the numbers that it saw. Intended gaps, after a server died,
remain.
"""

import re
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

__all__ = ["OURS", "gets_ours", "of_the_standard"]

OURS = "codeact:events"
"""The value of `include` that asks for events whose types begin with `codeact:`."""
BEGIN = '{"type":"codeact:'
NUMBER = '"sequence_number":'
DIGITS = re.compile(r"\d{1,20}")


def gets_ours(include: Collection[str] | None) -> bool:
    """Whether a request with this `include` gets our own events."""
    return OURS in (include or ())


async def of_the_standard(
    stream: AsyncGenerator[list[str], None], *, starting_after: int = -1
) -> AsyncGenerator[list[str], None]:
    """The standard's events after the number `starting_after`. The stream must begin with a response's first event.

    Passes on an empty list of frames, which means that no event has come for a while.
    """
    ours = 0
    async with aclosing(stream):
        async for frames in stream:
            standard = []
            for frame in frames:
                if frame.startswith(BEGIN):
                    ours += 1
                    continue
                # The number follows any user content in the event, so the last match is the right one.
                found = DIGITS.match(frame, frame.rindex(NUMBER) + len(NUMBER))
                assert found is not None
                number = int(found[0]) - ours
                if number > starting_after:
                    standard.append(f"{frame[: found.start()]}{number}{frame[found.end() :]}" if ours else frame)
            if standard or not frames:
                yield standard
