"""Pages of lists, in the standard's form."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.errors import InvalidRequest

__all__ = ["ENCRYPTED_REASONING", "LOGPROBS", "Included", "ItemList", "PageQuery", "listed", "page_of"]

Included = Literal[
    "code_interpreter_call.outputs",
    "message.output_text.logprobs",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "codeact:events",
    "codeact:data_urls",
]
"""The allowed values of `include`. With `codeact:events`, a stream also contains our own events.

Outputs and images are always included; encrypted reasoning and log probabilities only if a create request asks.
"""
ENCRYPTED_REASONING: Included = "reasoning.encrypted_content"
LOGPROBS: Included = "message.output_text.logprobs"


class PageQuery(msgspec.Struct, kw_only=True):
    """Selects a page of a list: what follows the item `after`, newest first unless `order` is `asc`."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    include: list[Included] | None = None


class ItemList(msgspec.Struct):
    """`data` contains input and output items in the standard's form."""

    data: list[Any]
    has_more: bool
    first_id: str | None
    last_id: str | None
    object: Literal["list"] = "list"


def page_of(items: Sequence[Any], query: PageQuery) -> ItemList:
    """One page of `items`, which are given oldest first. Raises `InvalidRequest` for an unknown `after`."""
    ordered = items if query.order == "asc" else items[::-1]
    start = 0
    if query.after is not None:
        places = [index for index, item in enumerate(ordered) if item.id == query.after]
        if not places:
            raise InvalidRequest(f"'{query.after}' is not in this list.", param="after")
        start = places[0] + 1
    page = ordered[start : start + query.limit]
    return listed(page, has_more=start + query.limit < len(ordered))


def listed(page: Sequence[Any], *, has_more: bool) -> ItemList:
    """A page in the standard's form."""
    first_id, last_id = (page[0].id, page[-1].id) if page else (None, None)
    return ItemList(data=list(page), has_more=has_more, first_id=first_id, last_id=last_id)
