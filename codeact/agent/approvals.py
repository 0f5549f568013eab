"""Approval within one answer: what needs none, what a judge decides, and what waits for a person.

What waits ends the response, as calls of a client's functions do. The next request brings the decision.
"""

import inspect
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from codeact import events as e
from codeact.ids import new_id
from codeact.tools.approval import ApprovalPolicy, ApprovalQuestion, Judge, Ruling, SizeOf, ruling_of
from codeact.tools.function import HOST, Function, path_of
from codeact.tools.values import canonical
from sandbox_pool.calls import Call
from sandbox_pool.logs import Logger

__all__ = ["ApprovalOptions", "Approvals", "Asked", "Decided"]

log = Logger(__name__)

UNATTENDED = "nobody can be asked for approval here"

Asked = e.ApprovalRequest | e.CodeApprovalRequest
Decided = e.Approval | e.CodeApproval
READ = (e.ApprovalRequest, e.CodeApprovalRequest, e.Approval, e.CodeApproval, e.FunctionCallOutput)
"""The items of a conversation that say what was asked, decided and returned."""


async def _nothing(*_: Any) -> None:
    """Stores nothing: for answers whose conversation is not stored."""


@dataclass(frozen=True, slots=True)
class ApprovalOptions:
    """What needs approval in one answer, and who gives it.

    `decided` are the decisions of this request; with `goes_on` the user also says something, so that whatever is still
    undecided no longer waits. With `attended` False nobody can be asked: what the judge leaves open is rejected.
    `standing` allows decisions for the whole conversation. What waits expires after `expires_s` seconds. A judge that
    takes longer than `judge_timeout_s` seconds leaves the decision to a person. `add` stores
    something that waits, `withdraw` ends its waiting, `move` lets it continue after this response; `judged` is told
    each decision of the judge, as `approve` or `reject` and the name. `list_calls` stores calls of the client's
    functions that wait for values, which expire at that time; `end_calls` ends the waiting of those with these ids, of
    which the second have got values.
    """

    policy: ApprovalPolicy = field(default_factory=ApprovalPolicy)
    judge: Judge | None = None
    attended: bool = True
    standing: bool = True
    expires_s: float = 604_800.0
    judge_timeout_s: float = math.inf
    decided: Sequence[Decided] = ()
    goes_on: bool = False
    owner: str = ""
    conversation_id: str = ""
    add: Callable[[Asked], Awaitable[None]] = _nothing
    withdraw: Callable[[Collection[str]], Awaitable[None]] = _nothing
    move: Callable[[Collection[str]], Awaitable[None]] = _nothing
    judged: Callable[[str, str], None] = lambda action, name: None
    list_calls: Callable[[Sequence[Call], float], Awaitable[None]] = _nothing
    end_calls: Callable[[Collection[str], Collection[str]], Awaitable[None]] = _nothing


class Approvals:
    """Decides about the code and the calls of one answer. `context` is the conversation so far."""

    def __init__(self, options: ApprovalOptions, context: Sequence[e.Input | e.Item]) -> None:
        self._options = options
        context = [item for item in context if isinstance(item, READ)]
        self._requests = {item.id: item for item in context if isinstance(item, Asked)}
        self._decided = {decision.approval_request_id: decision for decision in options.decided}
        self._values = {item.call_id for item in context if isinstance(item, e.FunctionCallOutput)}
        self._called: set[str] = set()
        self._standing_calls: set[str] = set()
        self._standing_rules: set[str] = set()
        self._granted: list[tuple[str, str]] = []
        settled = [item for item in context if isinstance(item, Decided)]
        self._settled = {decision.approval_request_id for decision in settled}
        for decision in settled:
            if decision.approve and decision.decided_by is not None:
                self._remember(decision)

    @property
    def goes_on(self) -> bool:
        """Whether the user goes on without a decision about what is undecided."""
        return self._options.goes_on or not self._options.decided

    def _remember(self, decision: Decided) -> None:
        request = self._requests.get(decision.approval_request_id)
        stays = decision.scope == "conversation" and self._options.standing
        if isinstance(request, e.ApprovalRequest):
            path = path_of(None if request.server_label == HOST else request.server_label, request.name)
            self._called.add(path)
            if stays:
                self._standing_calls.add(path)
        elif request is not None and stays:
            self._standing_rules.update(request.reasons)

    # ---- what was decided ----------------------------------------------------------------------------

    def decision(self, request_id: str) -> Decided | None:
        """Returns this request's decision about what waits under the id."""
        return self._decided.get(request_id)

    def knows(self, request_id: str) -> bool:
        """Whether something in the conversation waits, or waited, for approval under this id."""
        return request_id in self._requests

    def code_to_run(self) -> tuple[e.CodeApprovalRequest, e.CodeApproval] | None:
        """Returns the block that this request has approved."""
        for request_id, decision in self._decided.items():
            request = self._requests.get(request_id)
            if isinstance(request, e.CodeApprovalRequest) and isinstance(decision, e.CodeApproval) and decision.approve:
                return request, decision
        return None

    def grant_lost_calls(self) -> None:
        """Lets code repeat approved calls once without asking, since the code that waited for them is gone."""
        for request_id, decision in self._decided.items():
            request = self._requests.get(request_id)
            if isinstance(request, e.ApprovalRequest) and isinstance(decision, e.Approval) and decision.approve:
                path = path_of(None if request.server_label == HOST else request.server_label, request.name)
                self._granted.append((path, canonical(decision.arguments or request.arguments)))

    # ---- what needs approval -------------------------------------------------------------------------

    @property
    def asks_about_code(self) -> bool:
        """Whether there is any rule; without one, no code waits."""
        return bool(self._options.policy)

    def may_hold(self, function: Function) -> bool:
        """Whether a call of the function may wait for a person."""
        has_rule = bool(self._options.policy) or function.approval is not None
        return has_rule and self._options.attended and function.answer is not None

    async def rules_about(self, code: str, size_of: SizeOf) -> list[str]:
        """Returns the rules that ask about this code, before the judge decides."""
        return [rule for rule in await self._options.policy.of_code(code, size_of) if rule not in self._standing_rules]

    async def of_code(self, code: str, size_of: SizeOf, *, rest: str | None = None) -> Ruling | list[str]:
        """Returns what the policy and the judge say about a block, or the rules for which a person must be asked.

        `rest` is the part of the code that has not run yet, if a part has: the judge decides about that.
        """
        if not self.asks_about_code:
            return Ruling(True)
        reasons = await self.rules_about(code, size_of)
        question = partial(ApprovalQuestion, "code", "python", {}, code if rest is None else rest, reasons)
        return await self._judged(question, reasons)

    async def of_call(self, function: Function, call: Call, arguments: Mapping[str, Any]) -> Ruling | list[str]:
        """The same for a call."""
        policy = self._options.policy
        if not policy and function.approval is None:
            return Ruling(True)
        reasons = await policy.of_call(function, call.arguments, self._called)
        granted = (function.path, canonical(call.arguments))
        if granted in self._granted:
            self._granted.remove(granted)
            return Ruling(True)
        if function.path in self._standing_calls:
            return Ruling(True)
        question = partial(ApprovalQuestion, "call", function.path, arguments, "", reasons)
        ruling = await self._judged(question, reasons)
        if isinstance(ruling, Ruling) and ruling.approve:
            self._called.add(function.path)
        return ruling

    async def _judged(self, question: Callable[..., ApprovalQuestion], reasons: list[str]) -> Ruling | list[str]:
        if not reasons:
            return Ruling(True)
        ruling = None
        if self._options.judge is not None:
            asked = question(owner=self._options.owner, conversation_id=self._options.conversation_id)
            ruling = await _ask(self._options.judge, asked, self._options.judge_timeout_s)
            if ruling is not None:
                self._options.judged("approve" if ruling.approve else "reject", asked.name)
        if ruling is None and not self._options.attended:
            return Ruling(False, UNATTENDED)
        return reasons if ruling is None else ruling

    # ---- what waits ----------------------------------------------------------------------------------

    async def ask_for_code(self, code: str, code_item_id: str, reasons: list[str]) -> e.CodeApprovalRequest:
        """Stores that the block waits, and returns its item."""
        request = e.CodeApprovalRequest(
            id=new_id("apr"), code=code, code_item_id=code_item_id, reasons=reasons, expires_at=self._expiry()
        )
        await self._options.add(request)
        return request

    async def ask_for_call(
        self, function: Function, call: Call, code_item_id: str, reasons: list[str]
    ) -> e.ApprovalRequest:
        """Stores that the call waits, and returns its item."""
        request = e.ApprovalRequest(
            id=new_id("mcpr"),
            server_label=function.server or HOST,
            name=function.name,
            arguments=call.arguments,
            code_item_id=code_item_id,
            reasons=reasons,
            expires_at=self._expiry(),
        )
        await self._options.add(request)
        return request

    async def withdraw(self, request_ids: Collection[str]) -> None:
        """Ends the waiting of these, without a decision."""
        if request_ids:
            await self._options.withdraw(request_ids)

    async def withdraw_undecided(self) -> None:
        """Ends the waiting of everything undecided, if the user goes on without a decision."""
        if self.goes_on:
            await self.withdraw(self._requests.keys() - self._settled)

    async def move(self, request_ids: Collection[str]) -> None:
        """Lets these continue after this response, in which their code waits again."""
        if request_ids:
            await self._options.move(request_ids)

    async def list_calls(self, calls: Collection[Call]) -> None:
        """Lists calls of the client's functions that wait from now on: at most `sandbox_pool.calls.MAX_OPEN`."""
        if calls:
            await self._options.list_calls(list(calls), float(self._expiry()))

    async def end_calls(self, call_ids: Collection[str]) -> None:
        """Ends the waiting of calls of the client's functions: they have got their values, or the user went on."""
        if call_ids:
            await self._options.end_calls(call_ids, self._values)

    def _expiry(self) -> int:
        return int(time.time() + self._options.expires_s)


async def _ask(judge: Judge, question: ApprovalQuestion, timeout_s: float) -> Ruling | None:
    """Asks the judge; a sync one runs in a thread. A judge that fails leaves the decision to a person."""
    try:
        with anyio.fail_after(timeout_s):
            if inspect.iscoroutinefunction(judge):
                return ruling_of(await judge(question))
            value = await anyio.to_thread.run_sync(judge, question, abandon_on_cancel=True)
            return ruling_of(await value if inspect.isawaitable(value) else value)
    except Exception:
        log.exception("the judge of approvals failed", function=question.name)
        return None
