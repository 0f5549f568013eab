"""The certificate of an answer whose code was run again."""

from typing import Annotated, Literal

import msgspec

from codeact.events.response import RecordedEnvironment

__all__ = ["MOST_DIFFERENCES", "TOLERANCE", "Certificate", "Difference", "Replayed"]

TOLERANCE = 1e-9
"""How much two decimal numbers may differ, relative to the larger one, and still count as equal."""
MOST_DIFFERENCES = 20


class Difference(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The first difference of one block. `block` counts the blocks of its response that ran, and `output` the block's
    outputs, from 1; `output` is None if it is no output's.

    `kind`: what differs: a `text`, a `picture`, the number of `outputs`, their `type`, the `error`, or a `call` that
    the code made. `earlier`: the block belongs to an earlier answer, so that it is only a hint at the cause.
    """

    response_id: str
    item_id: str
    block: int
    kind: Literal["text", "picture", "outputs", "type", "error", "call"]
    expected: str
    found: str
    output: int | None = None
    earlier: bool = False


class Replayed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the blocks were replayed with."""

    image: str | None = None
    packages: dict[str, str] = {}


class Certificate(msgspec.Struct, kw_only=True):
    """What was compared, with which versions, when, and the result.

    `blocks` are those of the answer, `earlier_blocks` those of earlier answers that ran before them, and `outputs` the
    answer's outputs. `calls` is how many calls of functions got the recorded value. `environment` is what the answer
    recorded, None for an answer of an older version, and `replayed` what it was replayed with. `tolerance` is that of
    decimal numbers, relative. `verified_at` is in Unix seconds, `took_s` in seconds.
    """

    response_id: str
    result: Literal["equal", "differs"]
    verified_at: int
    took_s: float
    version: str
    blocks: int
    earlier_blocks: int
    outputs: int
    calls: int
    tolerance: float
    environment: RecordedEnvironment | None
    replayed: Replayed
    differences: Annotated[list[Difference], msgspec.Meta(max_length=MOST_DIFFERENCES)]
    object: Literal["codeact:certificate"] = "codeact:certificate"
