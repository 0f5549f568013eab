"""Runs a recorded block of code again. Its calls of functions get the recorded values; nothing outside is called."""

from collections import defaultdict, deque

from codeact.dialect.statements import statements_of
from codeact.tools.toolbox import SHELL
from codeact.tools.values import hashed_arguments
from codeact.verification.comparing import Mismatch
from codeact.verification.errors import NotVerifiable
from codeact.verification.plan import Block, Part, RecordedCall
from codeact.verification.whole import GetBlob, whole_text
from sandbox_pool.calls import Call
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Output, Stream, fold
from sandbox_pool.sandbox.execution import Execution, Progress
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Replay"]

NOT_RECORDED = "This call is not in the record of the answer that is being verified."
SHOWN_CHARS = 200


class Replay:
    """The replay of one block in a sandbox. `calls` counts the calls that got their recorded value.

    `stray` is the first call that the record has with other arguments or not as often: the code went another way.
    """

    def __init__(self, block: Block, sandbox: Sandbox, get_blob: GetBlob) -> None:
        self.calls = 0
        self.stray: Mismatch | None = None
        self._block = block
        self._sandbox = sandbox
        self._get_blob = get_blob
        self._recorded: defaultdict[tuple[str, str], deque[RecordedCall]] = defaultdict(deque)
        for call in block.calls:
            self._recorded[call.name, call.arguments].append(call)

    async def run(self, part: Part) -> tuple[list[Stream | DisplayData | ExecuteResult | Error], ExecutionResult]:
        """Runs a part of the block to its end; returns its outputs and its result. Cancelling it stops the code.

        Code that ran while the model wrote it runs statement by statement again. Raises `NotVerifiable` for a call of
        which the record has no value, and `SandboxError`.
        """
        outputs: list[Output] = []
        async with self._begin(await whole_text(part.code, self._get_blob), is_eager=part.is_eager) as execution:
            while True:
                try:
                    item = await execution.next()
                except StopAsyncIteration:
                    break
                if isinstance(item, Call):
                    await self._answer(item)
                elif not isinstance(item, Progress):
                    outputs.append(item)
        return fold(outputs), execution.result

    def _begin(self, code: str, *, is_eager: bool) -> Execution:
        statements = statements_of(code) if is_eager else []
        if not statements:
            return self._sandbox.execute(code, calls=True)
        execution = self._sandbox.open(statements, calls=True)
        execution.write([], ended=True)
        return execution

    async def _answer(self, call: Call) -> None:
        if call.name == SHELL.name and all(each.name != SHELL.name for each in self._block.calls):
            self._sandbox.answer(call, value="null")  # The commands themselves run in the sandbox.
            return
        found = self._recorded[call.name, hashed_arguments(call.arguments)]
        if not found:
            recorded = [each for each in self._block.calls if each.name == call.name]
            if not recorded:
                raise self._missing(call)
            shown = f"{call.name}({call.arguments[:SHOWN_CHARS]})"
            was = f"{len(recorded)} calls of {call.name}() with other arguments, or fewer of them"
            self.stray = self.stray or Mismatch("call", was, shown)
            self._sandbox.answer(call, error=NOT_RECORDED)
            return
        record = found.popleft()
        if not record.is_known:
            raise self._missing(call)
        self.calls += 1
        if record.error is not None:
            self._sandbox.answer(call, error=await whole_text(record.error, self._get_blob))
        else:
            self._sandbox.answer(call, value=await whole_text(record.value or "null", self._get_blob))

    def _missing(self, call: Call) -> NotVerifiable:
        return NotVerifiable(
            f"The block '{self._block.item_id}' calls {call.name}(), and the record has no value for it.",
            code="call_without_record",
        )
