"""Draws a conversation as its user saw it."""

from collections.abc import Sequence

import streamlit as st

from codeact.dashboard.drawing import charts, timeline
from codeact.dashboard.drawing.colours import status_badge
from codeact.dashboard.drawing.figures import count, dollars, moment, seconds
from codeact.dashboard.drawing.markup import plain, prose, revealed
from codeact.dashboard.drawing.outputs import TEXT_CHARS, draw
from codeact.events import (
    Approval,
    ApprovalRequest,
    ClientCall,
    CodeApproval,
    CodeApprovalRequest,
    CodeInterpreterCall,
    Compaction,
    CustomToolCall,
    FunctionCall,
    FunctionCallOutput,
    Input,
    Item,
    McpCall,
    Message,
    Reasoning,
)
from codeact.observations.plaintext import excerpt
from codeact.store.records import StoredResponse
from sandbox_pool.outputs import Output

__all__ = ["answer", "items", "question"]

LONG = 2_000
ENDS = {
    "ok": "Done",
    "error": "Error",
    "interrupted": "Stopped",
    "timeout": "Time limit",
    "died": "Kernel died",
}
"""The words that the chat uses for how code ended."""


def question(items: Sequence[Input]) -> None:
    """The input of one answer."""
    for item in items:
        if isinstance(item, FunctionCallOutput):
            with st.chat_message("tool", avatar=":material/function:"):
                st.code(excerpt(item.output, TEXT_CHARS), language="json")
            continue
        if isinstance(item, Compaction):
            _compaction(item)
            continue
        if isinstance(item, Approval | CodeApproval):
            _decision(item)
            continue
        with st.chat_message("user" if item.role == "user" else item.role, avatar=_avatar(item.role)):
            for part in item.content:
                match part:
                    case {"text": str(text)}:
                        st.text(revealed(excerpt(text, TEXT_CHARS)))
                    case {"filename": str(name)} | {"file_id": str(name)} | {"image_url": str(name)}:
                        st.caption(f"attached: {plain(name, 80)}")


def answer(stored: StoredResponse, owner: str) -> None:
    """One answer with its timings and its timeline."""
    response = stored.response
    with st.chat_message("assistant", avatar=":material/smart_toy:"):
        items(response.output, owner)
        if response.error is not None:
            st.error(f"{plain(response.error.message, LONG)} ({plain(response.error.code)})")
        for notice in response.notices:
            st.warning(plain(notice.message, LONG))
        with st.expander(_summary(stored), icon=":material/timer:"):
            _ledger(stored)


def items(output: Sequence[Item], owner: str, *, live: tuple[str, Sequence[Output]] | None = None) -> None:
    """Draws items. `live`: the id of a running code block, and its outputs so far."""
    for item in output:
        match item:
            case Message():
                st.markdown(prose("".join(part.text for part in item.content)))
            case Reasoning():
                with st.expander("Reasoning", icon=":material/psychology:"):
                    st.markdown(prose("".join(part.text for part in item.content)))
            case Compaction():
                _compaction(item)
            case CodeInterpreterCall():
                _code(item, owner, live[1] if live is not None and live[0] == item.id else None)
            case ApprovalRequest() | CodeApprovalRequest():
                what = f"{item.server_label}.{item.name}" if isinstance(item, ApprovalRequest) else "the code above"
                st.caption(f"{plain(what)} waited for approval: {plain(', '.join(item.reasons))}")
            case FunctionCall() | CustomToolCall() | McpCall():
                label = item.name if isinstance(item, ClientCall) else f"{item.server_label}.{item.name}"
                with st.expander(f"Call of {plain(label)}", icon=":material/function:"):
                    if isinstance(item, CustomToolCall):
                        st.code(excerpt(item.input, TEXT_CHARS), language=None, wrap_lines=True)
                    else:
                        st.code(excerpt(item.arguments or "{}", TEXT_CHARS), language="json")
                    for step in item.steps if isinstance(item, McpCall) else ():
                        if step.code:
                            st.code(revealed(excerpt(step.code, TEXT_CHARS)), language="python", wrap_lines=True)
                        st.code(excerpt(step.text, TEXT_CHARS), language=None, wrap_lines=True)
                    if isinstance(item, McpCall) and (item.output or item.error):
                        st.code(
                            excerpt(str(item.error or item.output or ""), TEXT_CHARS), language=None, wrap_lines=True
                        )


def _decision(item: Approval | CodeApproval) -> None:
    words = f"{'Approved' if item.approve else 'Rejected'} by {item.decided_by or 'somebody'}"
    st.caption(plain(f"{words}: {item.reason}" if item.reason else words))
    changed = item.code if isinstance(item, CodeApproval) else item.arguments
    if changed is not None:
        st.code(revealed(excerpt(changed, TEXT_CHARS)), language="python", wrap_lines=True)


def _compaction(item: Compaction) -> None:
    if item.text:
        with st.expander("Earlier messages were summarised", icon=":material/compress:"):
            st.code(revealed(excerpt(item.text, TEXT_CHARS)), language=None, wrap_lines=True)


def _code(call: CodeInterpreterCall, owner: str, live: Sequence[Output] | None) -> None:
    with st.container(border=True):
        result = call.result
        if result is not None:
            colour = "green" if result.status == "ok" else "red"
            limit = f" · limit {plain(result.limit)}" if result.limit else ""
            ended = ENDS.get(result.status, result.status)
            st.markdown(f":{colour}-badge[{ended}] :small[{seconds(result.duration_s)}{limit}]")
        elif live is not None:
            st.markdown(":blue-badge[Running]")
        if call.code:
            st.code(revealed(excerpt(call.code, TEXT_CHARS)), language="python", wrap_lines=True)
        draw(list(call.notebook_outputs) if live is None else list(live), owner)
        if result is not None and result.detail:
            st.caption(plain(result.detail, LONG))


def _summary(stored: StoredResponse) -> str:
    response = stored.response
    usage = response.usage
    parts = [plain(response.model), seconds(response.ledger.total_s)]
    if usage is not None:
        parts += [f"{count(usage.total_tokens)} tokens", plain(dollars(usage.cost_usd))]
    return " · ".join(parts)


def _ledger(stored: StoredResponse) -> None:
    response, ledger, usage = stored.response, stored.response.ledger, stored.response.usage
    st.markdown(f"{status_badge(response.status)} `{response.id}` {moment(response.created_at)} UTC")
    times = {
        "sandbox wait": ledger.sandbox_wait_s,
        "first token": ledger.first_token_s,
        "code detected": ledger.code_detected_s,
        "first output": ledger.first_output_s,
        "total": ledger.total_s,
    }
    rows = {name: seconds(value) for name, value in times.items()}
    if usage is not None:
        rows["input tokens"] = f"{usage.input_tokens:,} ({usage.input_tokens_details.cached_tokens:,} cached)"
        rows["output tokens"] = f"{usage.output_tokens:,}" + (" (estimated)" if usage.estimated else "")
        rows["cost"] = dollars(usage.cost_usd)
    st.markdown(" · ".join(f"**{name}** {value}" for name, value in rows.items()).replace("$", "\\$"))
    if found := timeline.phases(response):
        charts.show(timeline.chart(found))


def _avatar(role: str) -> str:
    return {"user": ":material/person:", "assistant": ":material/smart_toy:"}.get(role, ":material/settings:")
