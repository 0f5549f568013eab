"""Lists, a page at a time, as the standard has them: items and a query enter, one page leaves."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.errors import InvalidRequest

__all__ = ["Included", "ItemList", "PageQuery", "page_of"]

Included = Literal["code_interpreter_call.outputs", "message.input_image.image_url", "reasoning.encrypted_content"]
"""What `include` may name. All of it is always there; reasoning comes in the clear, so that nothing is encrypted."""


class PageQuery(msgspec.Struct, kw_only=True):
    """Which page of a list: what follows the item `after`, newest first unless `order` is `asc`."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    include: list[Included] | None = None


class ItemList(msgspec.Struct):
    """`data` holds input and output items as the standard has them."""

    data: list[Any]
    has_more: bool
    first_id: str | None
    last_id: str | None
    object: Literal["list"] = "list"


def page_of(items: Sequence[Any], query: PageQuery) -> ItemList:
    """One page of what is given oldest first, as the standard lists things. Raises `InvalidRequest` for `after`."""
    ordered = items if query.order == "asc" else items[::-1]
    start = 0
    if query.after is not None:
        places = [index for index, item in enumerate(ordered) if item.id == query.after]
        if not places:
            raise InvalidRequest(f"'{query.after}' is not in this list.", param="after")
        start = places[0] + 1
    page = ordered[start : start + query.limit]
    return ItemList(
        data=list(page),
        has_more=start + query.limit < len(ordered),
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
    )
