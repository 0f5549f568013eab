"""Finds in a stored thread what must run again to verify an answer: blocks of code, their outputs, and calls.

Pure. A block that waited for a value or a decision goes on in a later response; here it is one block again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from codeact import events as e
from codeact.store.records import StoredResponse
from codeact.tools.client_search import value_for_code
from codeact.tools.function import HOST, TEXT, FunctionError, path_of
from codeact.tools.values import hashed_arguments
from codeact.verification.errors import NotVerifiable
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["MOST_CODE_CHARS", "Block", "Part", "RecordedCall", "plan"]

UNFINISHED = {
    "interrupted": "was stopped before its end",
    "timeout": "was stopped at its time limit",
    "died": "ended together with its sandbox",
}


MOST_CODE_CHARS = 1_000_000
"""Limit for the code of a block, whose statements may have been approved in several steps."""
MOST_SANDBOXES = 20
"""Limit for the sandboxes in which an answer's code ran. They start one after the other; anybody can write a record."""


@dataclass(frozen=True, slots=True)
class Part:
    """Code that ran as one piece; `is_eager`: statement by statement, while the model wrote it."""

    code: str
    is_eager: bool = False


@dataclass(slots=True)
class RecordedCall:
    """A call that code made: the function's name in calls, the SHA-256 of its arguments, and what the code got.

    `is_known` is False if the record has neither value nor error.
    """

    name: str
    arguments: str
    value: str | None = None
    error: str | None = None
    is_known: bool = True


@dataclass(slots=True)
class Block:
    """One block of code.

    `response` is the one in which it began, `item_id` its item and `number` its place there. `parts` run one after the
    other, up to the first that fails: the rest of a block may have been approved later. `outputs` are those of all
    responses in which it ran, `container_id` is its sandbox, and `began_in` the one in which it began: they differ if
    it ran again because that was gone. `kernel` numbers the states of the kernel: it goes on in another sandbox where a
    checkpoint was restored. `is_earlier` says that the verified answer only depends on the block. `asks` is what waits
    for approval: all of its code, or the statements after those in `parts`. `is_cut`: its outputs reached their limit.
    `has_begun` is False for code of which nothing was approved. `duration_s` is how long it ran.
    """

    response: e.Response
    item_id: str
    parts: list[Part]
    container_id: str = ""
    began_in: str = ""
    outputs: list[Stream | DisplayData | ExecuteResult | Error] = field(default_factory=list)
    calls: list[RecordedCall] = field(default_factory=list)
    result: str | None = None
    is_earlier: bool = True
    number: int = 0
    kernel: int = 0
    asks: e.CodeApprovalRequest | None = None
    is_closed: bool = True
    is_cut: bool = False
    has_begun: bool = False
    chars: int = 0
    duration_s: float = 0.0

    def begin(self, part: Part) -> None:
        """Replaces the code. Raises `NotVerifiable` if it is too long."""
        self.parts, self.chars = [], 0
        self.add(part)

    def add(self, part: Part) -> None:
        """Adds to the code. Raises `NotVerifiable` if it is too long."""
        self.chars += len(part.code)
        if self.chars > MOST_CODE_CHARS:
            raise NotVerifiable(
                f"The block '{self.item_id}' has over {MOST_CODE_CHARS:,} characters of code.", code="record_too_large"
            )
        self.parts.append(part)


def plan(thread: Sequence[StoredResponse]) -> list[Block]:
    """Returns the blocks to run, in their order; the verified answer is the last response of `thread`.

    These are the answer's blocks, and those on whose kernel they depend. Raises `NotVerifiable` if the
    answer ran no code, or if one of the blocks has no end to compare with.
    """
    blocks = _blocks(thread)
    wanted = [block for block in blocks if not block.is_earlier]
    if not wanted:
        raise NotVerifiable("This answer ran no code: there is nothing to verify.", code="nothing_to_verify")
    kernels = {block.kernel for block in wanted}
    if len(kernels) > MOST_SANDBOXES:
        raise NotVerifiable(
            f"This answer's code ran in {len(kernels):,} sandboxes, and a verification starts at most"
            f" {MOST_SANDBOXES}.",
            code="too_many_sandboxes",
        )
    needed = [block for block in blocks if block.kernel in kernels]
    for block in needed:
        if not block.is_closed:
            why = "still waits for a value or a decision, or its server died while it ran"
        elif block.result in UNFINISHED:
            why = UNFINISHED[block.result]
        else:
            continue
        raise NotVerifiable(
            f"The block '{block.item_id}' {why}: it has no end to compare with.", code="block_unfinished"
        )
    return needed


def _blocks(thread: Sequence[StoredResponse]) -> list[Block]:
    values = _values(thread)
    edited = {
        item.id: item.arguments
        for stored in thread
        for item in stored.response.output
        if isinstance(item, e.ApprovalRequest)
    }
    asked = {
        item.id: item for stored in thread for item in stored.response.output if isinstance(item, e.CodeApprovalRequest)
    }
    by_item: dict[str, Block] = {}
    blocks: list[Block] = []
    for stored in thread:
        is_last = stored is thread[-1]
        open_block: Block | None = None
        for item in stored.response.output:
            if isinstance(item, e.CodeInterpreterCall):
                open_block = by_item.get(item.continues) if item.continues is not None else None
                if open_block is None:
                    if _never_ran(item):
                        continue
                    open_block = Block(stored.response, item.id, [])
                    blocks.append(open_block)
                by_item[item.id] = open_block
                _add(open_block, item, asked)
                open_block.is_earlier = open_block.is_earlier and not is_last
            elif open_block is not None and (call := _call(item, values, edited)) is not None:
                open_block.calls.append(call)
    ran = [block for block in blocks if block.has_begun and (block.result is not None or not block.is_closed)]
    for _, group in groupby(ran, key=lambda block: block.response.id):
        for number, block in enumerate(group, 1):
            block.number = number
    for before, block in pairwise(ran):
        is_restored = block.number == 1 and any(each.code == "kernel_restored" for each in block.response.notices)
        goes_on = block.began_in == before.container_id or is_restored
        block.kernel = before.kernel if goes_on else before.kernel + 1
    return ran


def _never_ran(item: e.CodeInterpreterCall) -> bool:
    """Whether the block was refused before it ran, so that nothing of it is in the kernel.

    A block of which the rest waits for approval has an observation, too: of the statements that have run.
    """
    return item.result is None and item.observation is not None and not item.waits_for


def _add(block: Block, item: e.CodeInterpreterCall, asked: Mapping[str, e.CodeApprovalRequest]) -> None:
    """Adds what happened in one response to its block."""
    if item.continues is None:
        block.begin(Part(item.code if item.ran is None else item.ran, item.eager))
    elif block.asks is not None:
        approved = item.ran or item.code or block.asks.code  # It may have been approved with a change.
        (block.add if block.has_begun else block.begin)(Part(approved))
    elif item.ran is not None:
        block.begin(Part(item.ran))
    block.asks = next((asked[each] for each in item.waits_for if each in asked), None)
    has_run = block.asks is None or item.ran is not None
    block.has_begun = block.has_begun or has_run
    block.container_id = item.container_id
    if block.has_begun and not block.began_in:
        block.began_in = item.container_id
    block.outputs += item.notebook_outputs
    block.is_cut = block.is_cut or (item.result is not None and item.result.limit == "output_bytes")
    block.calls += [RecordedCall(each.name, each.arguments, error=each.error) for each in item.refused]
    block.duration_s += item.result.duration_s if item.result is not None else 0.0
    block.result = item.result.status if item.result is not None else "ok" if block.asks is not None else None
    block.is_closed = item.result is not None or block.asks is not None or _never_ran(item)


def _values(thread: Iterable[StoredResponse]) -> dict[str, e.FunctionCallOutput]:
    return {item.call_id: item for stored in thread for item in stored.input if isinstance(item, e.FunctionCallOutput)}


def _call(item: e.Item, values: dict[str, e.FunctionCallOutput], edited: dict[str, str]) -> RecordedCall | None:
    match item:
        case e.McpCall():
            made = edited.get(item.approval_request_id or "", item.arguments)
            call = RecordedCall(
                _name(None if item.server_label == HOST else item.server_label, item.name), hashed_arguments(made)
            )
            call.value, call.error = item.output, None if item.error is None else str(item.error)
            call.is_known = item.status in ("completed", "failed")
            return call
        case e.FunctionCall() | e.CustomToolCall() | e.ToolSearchCall():
            namespace = item.namespace if isinstance(item.namespace, str) else None
            arguments = _arguments(item)
            return _answered(
                RecordedCall(_name(namespace, item.name), hashed_arguments(arguments)), values.get(item.call_id)
            )
    return None


def _arguments(item: e.FunctionCall | e.CustomToolCall | e.ToolSearchCall) -> str:
    match item:
        case e.CustomToolCall(input=text):
            return json.dumps({TEXT: text})
        case e.ToolSearchCall(arguments=given):
            return json.dumps(given)
    return item.arguments


def _answered(call: RecordedCall, output: e.FunctionCallOutput | None) -> RecordedCall:
    if output is None:
        call.is_known = False
    elif output.is_error is True:
        call.error = output.output
    else:
        try:
            call.value = value_for_code(output)
        except FunctionError as error:
            call.error = error.message
    return call


def _name(server: str | None, name: str) -> str:
    return name if server is None else path_of(server, name)
