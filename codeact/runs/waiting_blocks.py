"""Finds the block of code for which a request brings values or decisions, if its kernel is gone and it can run again.

What the block has called, and what it got, is in the items of the conversation; the results are the owner's.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from codeact import events as e
from codeact.agent.code_execution import rejection
from codeact.agent.rerunning import PastCall
from codeact.agent.waiting_block import WaitingBlock
from codeact.concurrency.offloop import off_loop
from codeact.errors import CodeActError, NotFound
from codeact.observations.kernel_state import RestoredState, restored_state
from codeact.runs.kernel_states import options_of
from codeact.runs.resume_points import ResumePoint
from codeact.store import Store, StoredResponse
from codeact.store.checkpoint_record import CheckpointRecord
from codeact.store.repositories.threads import Link
from codeact.store.whole_text import GetBlob, whole_text
from codeact.tools.client_search import value_for_code
from codeact.tools.function import FunctionError
from codeact.tools.toolbox import functions_of
from codeact.workspaces.checkpoint_contents import read_manifest
from codeact.workspaces.checkpoints import Checkpoints
from codeact.workspaces.options import ALL_HAVE, ContainerOptions
from codeact.workspaces.suspended import MOST_ERROR_CHARS, unanswered, undecided
from codeact.workspaces.workspace import Workspace
from sandbox_pool.outputs import Output, Stream, fold

__all__ = ["Found", "find_waiting_block"]

MOST_RESPONSES = 1_000
"""A block that has waited more often does not run again."""
COMPARED_CHARS = 32_000
NO_STATE = "there is no checkpoint of the state in which it began"
AGAIN = (
    "While this block waited, its kernel was lost. The state in which the block began was restored, and the block ran"
)
ForWaiting = e.FunctionCallOutput | e.Approval


class _Lost(Exception):
    """The block cannot run again, for the reason in the message."""


@dataclass(frozen=True, slots=True)
class Found:
    """A block to run again, with the checkpoint of the state in which it began; None: a kernel without any code.

    `options` are those of its container, and `restored` is what user and model are told of the state. If `block` is
    None, the block cannot run again, and `problem` says why.
    """

    block: WaitingBlock | None = None
    record: CheckpointRecord | None = None
    problem: str = ""
    options: ContainerOptions = ALL_HAVE
    restored: RestoredState | None = None


async def find_waiting_block(
    at: ResumePoint, messages: Sequence[e.Input], workspace: Workspace, checkpoints: Checkpoints
) -> Found | None:
    """Returns the block that waits for `messages`; None if none does, or if its kernel lives.

    It needs no database call where code waits in a living kernel, and where the messages are questions. Raises
    `StoreError`.
    """
    if not checkpoints.on or at.ephemeral or at.resent or at.at.previous is None:
        return None
    previous_id = at.at.previous.response_id
    if not any(isinstance(message, ForWaiting) for message in messages) or workspace.waits_after(previous_id):
        return None
    store = await checkpoints.store.get()
    try:
        sections = await _sections(store, previous_id, owner=workspace.owner)
        if not sections:
            return None
        return await _found(store, at.at.previous, sections, workspace, checkpoints)
    except _Lost as lost:
        return Found(problem=str(lost))
    except CodeActError as error:
        if error.retryable:
            raise  # Nothing is decided yet: the request can be sent again.
        return Found(problem=error.message)


async def _found(
    store: Store,
    link: Link,
    sections: "list[tuple[StoredResponse, e.CodeInterpreterCall, e.Restart]]",
    workspace: Workspace,
    checkpoints: Checkpoints,
) -> Found:
    response, item, last = sections[-1]
    first = sections[0][2]
    if last.expires_at < time.time():
        raise _Lost("it had expired")
    conversation = response.response.conversation
    conversation_id = conversation.id if conversation is not None else ""
    if await store.threads.has_continued(item.id, link):
        raise _Lost("it has gone on already, after another request")
    record = await _record(store, first.state, conversation_id, checkpoints, owner=workspace.owner)
    get = partial(store.get_blob, owner=workspace.owner)
    calls = await _calls(sections, get)
    tools = response.response.tools
    made = len([call for call in calls if call.waits_as is None])
    manifest = await read_manifest(record) if record is not None else None
    restored = await off_loop(len(record.manifest), restored_state, manifest) if record is not None else None
    options, refused = await options_of(item.container_id, store, workspace)
    restored = restored.without(refused) if restored is not None else None
    note = f"{AGAIN} again. The {made} calls that it had made got their recorded results, and were not made again."
    if restored is not None and restored.unsaved:
        note = f"{note} {restored.for_user()}"
    block = WaitingBlock(
        item.id,
        first.state,
        first.code,
        first.statements,
        calls,
        any(restart.side_by_side for _, _, restart in sections),
        functions_of(tools),
        partial(_difference, [output for _, each, _ in sections for output in each.notebook_outputs]),
        note,
    )
    if manifest is not None and (missing := block.needs([each.name for each in manifest.unsaved])):
        raise _Lost(f"it needs {', '.join(missing[:20])}, which could not be saved")
    return Found(block, record, options=options, restored=restored)


async def _sections(
    store: Store, response_id: str, *, owner: str
) -> list[tuple[StoredResponse, e.CodeInterpreterCall, e.Restart]]:
    """Returns the items of the block that waits after this response, oldest first, each with its response.

    Empty if nothing waits there. Raises `_Lost` if it cannot run again.
    """
    found: list[tuple[StoredResponse, e.CodeInterpreterCall, e.Restart]] = []
    wanted: str | None = None
    next_id: str | None = response_id
    while next_id is not None and len(found) < MOST_RESPONSES:
        stored = await store.get_response(next_id, owner=owner)
        blocks = [item for item in stored.response.output if isinstance(item, e.CodeInterpreterCall)]
        item = next((each for each in reversed(blocks) if wanted is None or each.id == wanted), None)
        if item is None or not item.waits_for:
            return []
        if item.restart is None:
            raise _Lost(NO_STATE)
        found.append((stored, item, item.restart))
        if item.restart.code:
            return found[::-1]
        wanted, next_id = item.continues, stored.response.previous_response_id
    return []


async def _record(
    store: Store, state: str, conversation_id: str, checkpoints: Checkpoints, *, owner: str
) -> CheckpointRecord | None:
    """Returns the checkpoint of the state; None for a kernel in which no code had run. Raises `_Lost`."""
    if not state:
        return None
    await checkpoints.settled(conversation_id)
    if state.startswith("ci_"):
        record = await store.checkpoints.before(state, conversation_id=conversation_id, owner=owner)
    else:
        record = await store.checkpoints.of_responses([state], owner=owner)
    if record is None:
        raise _Lost(NO_STATE)
    return record


async def _calls(
    sections: "list[tuple[StoredResponse, e.CodeInterpreterCall, e.Restart]]", get: GetBlob
) -> list[PastCall]:
    """Returns the calls of the block with what the code got. Raises `_Lost` if a result is not recorded."""
    waits = set(sections[-1][1].waits_for)
    items = {item.id: item for stored, _, _ in sections for item in stored.response.output}
    approved = {
        item.approval_request_id: item
        for item in items.values()
        if isinstance(item, e.McpCall) and item.approval_request_id is not None
    }
    # Of a value that was sent to several responses, the code got the first.
    inputs = [message for stored, _, _ in reversed(sections) for message in stored.input]
    values = {message.call_id: message for message in inputs if isinstance(message, e.FunctionCallOutput)}
    decisions = {message.approval_request_id: message for message in inputs if isinstance(message, e.Approval)}
    calls: list[PastCall] = []
    for _, _, restart in sections:
        for made in restart.calls:
            got = made.got
            if got is None:
                value = None if made.error is not None else "null"
                calls.append(PastCall(made.name, made.arguments, value, made.error))
            elif got in waits:
                calls.append(PastCall(made.name, made.arguments, waits_as=got))
            elif (item := approved.get(got) or items.get(got)) is not None and isinstance(item, e.McpCall):
                calls.append(await _outside(made, item, get))
            elif isinstance(items.get(got), e.ApprovalRequest):
                calls.append(PastCall(made.name, made.arguments, error=_refusal(made, decisions.get(got))))
            else:
                calls.append(_of_client(made, values.get(got)))
    return calls


async def _outside(made: e.MadeCall, item: e.McpCall, get: GetBlob) -> PastCall:
    if item.error is not None:
        return PastCall(made.name, made.arguments, error=str(item.error))
    if item.output is None:
        raise _Lost(f"the result of its call of {made.name}() is not recorded")
    try:
        return PastCall(made.name, made.arguments, await whole_text(item.output, get))
    except NotFound:
        raise _Lost(f"the result of its call of {made.name}() is gone") from None


def _refusal(made: e.MadeCall, decision: e.Approval | None) -> str:
    if decision is None:
        return undecided(made.name)
    if not decision.approve:
        return rejection(made.name, decision.reason)
    raise _Lost(f"the result of its call of {made.name}() is not recorded")


def _of_client(made: e.MadeCall, output: e.FunctionCallOutput | None) -> PastCall:
    if output is None:
        return PastCall(made.name, made.arguments, error=unanswered(made.name))
    if output.is_error is True:
        return PastCall(made.name, made.arguments, error=output.output[:MOST_ERROR_CHARS])
    try:
        return PastCall(made.name, made.arguments, value_for_code(output), is_counted=False)
    except FunctionError as error:
        return PastCall(made.name, made.arguments, error=error.message)


def _difference(before: Sequence[Output], now: Sequence[Output]) -> str | None:
    """Says how the outputs differ from those that the block had before it waited; None if they are the same."""
    again = fold(list(now))
    for name in ("stdout", "stderr"):
        if _text(before, name) != _text(again, name):
            return (
                "The code that waited ran again in another kernel, and did not print the same as before. Its outputs"
                " follow once more."
            )
    shown, shown_again = ([each for each in some if not isinstance(each, Stream)] for some in (before, again))
    if [type(each) for each in shown] != [type(each) for each in shown_again]:
        return "The code that waited ran again in another kernel, and did not display the same as before."
    return None


def _text(outputs: Sequence[Output], name: str) -> str:
    """The beginning of what was printed: the middle of long texts is not stored with the item."""
    return "".join(each.text for each in outputs if isinstance(each, Stream) and each.name == name)[:COMPARED_CHARS]
