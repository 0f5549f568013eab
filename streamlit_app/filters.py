"""Reads from widgets and the URL which conversations to list, whose, and in which order."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import streamlit as st

from codeact.store import HistoryQuery
from codeact.store.repositories.history import Sum

__all__ = ["Order", "Selection", "pick"]

AGES = {"any time": None, "24 h": 1, "7 d": 7, "30 d": 30, "90 d": 90, "1 y": 365}
STATUSES = ["completed", "failed", "incomplete", "cancelled", "in_progress"]
Order = Sum | Literal["asc", "desc"]
SORTS: dict[str, Order] = {
    "latest first": "desc",
    "oldest first": "asc",
    "most tokens": "tokens",
    "highest cost": "cost",
    "longest": "duration",
}
YES_NO = {"yes": True, "no": False}

Selection = tuple[HistoryQuery, str | None, Order]


def pick() -> Selection:
    """The query, the owner and the order. Every widget is bound to a URL parameter of the same name as its key."""
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    text = left.text_input(
        "Search", key="q", bind="query-params", placeholder="words, read_csv, word*, -without", icon=":material/search:"
    )
    sort = right.selectbox("Order", list(SORTS), key="sort", bind="query-params")
    with st.expander("Filters", icon=":material/filter_list:", expanded=_any_set()):
        values = _facets()
    age = AGES[values.pop("age") or "any time"]
    owner = values.pop("owner")
    since = datetime.now(UTC) - timedelta(days=age) if age is not None else None
    return HistoryQuery(query=text, since=since, **values), owner, SORTS[sort or "latest first"]


KEYS = ("age", "owner", "model", "status", "exception", "tag", "rating", "error", "image", "pinned")
SUMS = ("tokens", "cost_usd", "duration_s")


def _any_set() -> bool:
    names = (*KEYS, *(f"{bound}_{name}" for name in SUMS for bound in ("min", "max")))
    return any(name in st.query_params for name in names)


def _facets() -> dict[str, Any]:
    rows = [st.columns(5), st.columns(5), st.columns(6)]
    one, two, three, four, five = rows[0]
    age = one.selectbox("Active within", list(AGES), key="age", bind="query-params")
    owner = two.text_input("Owner", key="owner", bind="query-params", placeholder="everyone").strip()
    model = three.text_input("Model", key="model", bind="query-params", placeholder="any").strip()
    status = four.selectbox("Status", STATUSES, index=None, key="status", bind="query-params", placeholder="any")
    exception = five.text_input("Exception", key="exception", bind="query-params", placeholder="any").strip()
    one, two, three, four, five = rows[1]
    tag = one.text_input("Tag", key="tag", bind="query-params", placeholder="any").strip()
    rating = two.selectbox(
        "Rating", ["up", "down", "none"], index=None, key="rating", bind="query-params", placeholder="any"
    )
    flags = {
        name: column.selectbox(label, list(YES_NO), index=None, key=name, bind="query-params", placeholder="any")
        for column, name, label in ((three, "error", "Error"), (four, "image", "Image"), (five, "pinned", "Pinned"))
    }
    sums = {}
    places = iter(rows[2])
    for name, label, step in (("tokens", "tokens", 1), ("cost_usd", "cost ($)", 0.01), ("duration_s", "seconds", 1.0)):
        for bound in ("min", "max"):
            key = f"{bound}_{name}"
            sums[key] = next(places).number_input(
                f"{bound.capitalize()}. {label}",
                min_value=0 * step,
                value=None,
                step=step,
                key=key,
                bind="query-params",
            )
    return {
        "age": age,
        "owner": owner or None,
        "model": model or None,
        "status": status,
        "exception": exception or None,
        "tag": tag or None,
        "rating": rating,
        "has_error": YES_NO.get(flags["error"] or ""),
        "has_image": YES_NO.get(flags["image"] or ""),
        "pinned": YES_NO.get(flags["pinned"] or ""),
        **sums,
    }
