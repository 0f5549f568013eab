"""Runs a recorded block of code again. Its calls of functions get the recorded values; nothing outside is called."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence

from codeact.concurrency.offloop import off_loop
from codeact.dialect.statements import statements_of
from codeact.store.references import sha256_of
from codeact.store.whole_text import GetBlob, whole_text
from codeact.tools.toolbox import SHELL
from codeact.tools.values import hashed_arguments
from codeact.verification.comparing import Mismatch
from codeact.verification.errors import NotVerifiable
from codeact.verification.plan import MOST_CODE_CHARS, Block, Part, RecordedCall
from sandbox_pool.calls import VALUE_BYTES, Call
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Output, Stream, fold
from sandbox_pool.sandbox.execution import Execution, Progress
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Recorded", "Replay", "recorded_definitions"]

NOT_RECORDED = "This call is not in the record of the answer that is being verified."
SHOWN_CHARS = 200
DEFINITIONS_BYTES = 8_000_000
"""Limit for the recorded definitions of functions."""


class Recorded:
    """The calls that a block made, to be taken in their order. One call takes the same time however many there are."""

    def __init__(self, calls: Iterable[RecordedCall]) -> None:
        self._calls: defaultdict[tuple[str, str], deque[RecordedCall]] = defaultdict(deque)
        self._of: Counter[str] = Counter()
        for call in calls:
            self._calls[call.name, call.arguments].append(call)
            self._of[call.name] += 1

    def take(self, call: Call) -> RecordedCall | None:
        """Removes and returns the next recorded call with this name and these arguments; None if there is none."""
        found = self._calls.get((call.name, hashed_arguments(call.arguments)))
        return found.popleft() if found else None

    @property
    def left(self) -> int:
        """How many calls were not taken."""
        return sum(map(len, self._calls.values()))

    def of(self, name: str) -> int:
        """How many calls of this function were recorded, those that were taken included."""
        return self._of[name]


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
        self._recorded = Recorded(block.calls)

    @property
    def left(self) -> int:
        """How many of the recorded calls the code has not made again."""
        return self._recorded.left

    async def run(self, part: Part) -> tuple[list[Stream | DisplayData | ExecuteResult | Error], ExecutionResult]:
        """Runs a part of the block to its end; returns its outputs and its result. Cancelling it stops the code.

        Code that ran while the model wrote it runs statement by statement again. Raises `NotVerifiable` for a call of
        which the record has no value, and `SandboxError`.
        """
        outputs: list[Output] = []
        code = await whole_text(part.code, self._get_blob)
        if len(code) > MOST_CODE_CHARS:
            raise self._too_large(f"over {MOST_CODE_CHARS:,} characters of code")
        statements = await off_loop(len(code), statements_of, code) if part.is_eager else []
        async with self._begin(code, statements) as execution:
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

    def _begin(self, code: str, statements: Sequence[str]) -> Execution:
        if not statements:
            return self._sandbox.execute(code, calls=True)
        execution = self._sandbox.open(statements, calls=True)
        execution.write([], ended=True)
        return execution

    async def _answer(self, call: Call) -> None:
        if call.name == SHELL.name and not self._recorded.of(SHELL.name):
            self._sandbox.answer(call, value="null")  # The commands themselves run in the sandbox.
            return
        record = self._recorded.take(call)
        if record is None:
            if not (recorded := self._recorded.of(call.name)):
                raise self._missing(call)
            shown = f"{call.name}({call.arguments[:SHOWN_CHARS]})"
            was = f"{recorded} calls of {call.name}() with other arguments, or fewer of them"
            self.stray = self.stray or Mismatch("call", was, shown)
            self._sandbox.answer(call, error=NOT_RECORDED)
            return
        if not record.is_known:
            raise self._missing(call)
        self.calls += 1
        if record.error is not None:
            self._sandbox.answer(call, error=await self._whole(record.error))
        else:
            self._sandbox.answer(call, value=await self._whole(record.value or "null"))

    async def _whole(self, text: str) -> str:
        """The recorded value or error. Raises `NotVerifiable` if it is larger than a call's value can be."""
        whole = await whole_text(text, self._get_blob)
        if len(whole) > VALUE_BYTES:
            raise self._too_large(f"a value of over {VALUE_BYTES:,} characters")
        return whole

    def _too_large(self, what: str) -> NotVerifiable:
        return NotVerifiable(f"The block '{self._block.item_id}' has {what}.", code="record_too_large")

    def _missing(self, call: Call) -> NotVerifiable:
        return NotVerifiable(
            f"The block '{self._block.item_id}' calls {call.name}(), and the record has no value for it.",
            code="call_without_record",
        )


async def recorded_definitions(block: Block, get_blob: GetBlob) -> str | None:
    """The definitions of the functions that the block can call; None without functions.

    Raises `NotFound`, and `NotVerifiable` if the block calls functions whose definitions were not recorded.
    """
    environment = block.response.environment
    sha256 = sha256_of(environment.functions or "") if environment is not None else None
    if sha256 is None:
        if block.calls:
            raise NotVerifiable(
                f"The block '{block.item_id}' calls functions, and their definitions were not recorded.",
                code="call_without_record",
            )
        return None
    blob = await get_blob(sha256)
    if len(blob.data) > DEFINITIONS_BYTES:
        raise NotVerifiable(
            "This answer is not verified: the definitions of its functions are larger than they can be.",
            code="record_too_large",
        )
    return blob.data.decode(errors="replace")
