"""Which events a client gets: the standard's alone, or ours among them.

The helpers of official clients throw on a type of event that they do not know. So a request gets our own events only
where its `include` has `codeact:events`.
Without them the events' numbers are lower by as many of ours as came before, so that they have no gaps; a client
resumes by the numbers that it saw. Numbers that jump on purpose, behind a server that died, jump here too.
"""

import re
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing

__all__ = ["OURS", "gets_ours", "of_the_standard"]

OURS = "codeact:events"
"""What `include` names to get events whose types begin with `codeact:`."""
BEGIN = '{"type":"codeact:'
NUMBER = '"sequence_number":'
DIGITS = re.compile(r"\d{1,20}")


def gets_ours(include: Collection[str] | None) -> bool:
    """Whether a request with this `include` gets our own events."""
    return OURS in (include or ())


async def of_the_standard(
    stream: AsyncGenerator[list[str], None], *, starting_after: int = -1
) -> AsyncGenerator[list[str], None]:
    """The standard's events after the number `starting_after`, of a stream that begins with a response's first.

    An empty list of frames, which says that nothing has come for a while, is passed on.
    """
    ours = 0
    async with aclosing(stream):
        async for frames in stream:
            kept = []
            for frame in frames:
                if frame.startswith(BEGIN):
                    ours += 1
                    continue
                # It comes behind whatever JSON of others the event holds.
                found = DIGITS.match(frame, frame.rindex(NUMBER) + len(NUMBER))
                assert found is not None
                number = int(found[0]) - ours
                if number > starting_after:
                    kept.append(f"{frame[: found.start()]}{number}{frame[found.end() :]}" if ours else frame)
            if kept or not frames:
                yield kept
