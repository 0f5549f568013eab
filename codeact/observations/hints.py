"""Hints for the model on how to correct an error, from facts that the kernel reports and from earlier errors.

`SENTENCES` maps each kind of clue to the function that writes its sentence. A new kind needs code that finds it in
`sandbox_pool/guest/kernel_clues.py` and a row here.
"""

from collections.abc import Callable, Iterable, Sequence

from codeact.environment import Environment
from codeact.events import CodeInterpreterCall, Input, Item
from codeact.observations.plaintext import excerpt
from codeact.observations.tracebacks import failing_line
from sandbox_pool.clues import Clue
from sandbox_pool.outputs import Error, ExecutionResult

__all__ = ["earlier_errors", "hints"]

HINT_CHARS = 1_500
SHOWN_TRIES = 3
SHOWN_LINE_CHARS = 200
CALLS_BACK = 50
"""How many of the newest blocks are searched for the same error."""


def hints(
    result: ExecutionResult,
    clue: Clue | None,
    earlier: Sequence[CodeInterpreterCall],
    *,
    environment: Environment,
    ran_lines: int = 0,
) -> list[str]:
    """Returns sentences about an execution that failed; `earlier` are the blocks that raised the same error.

    `ran_lines` is how many lines had run before a syntax error.
    """
    if result.status != "error":
        return []
    found = []
    if clue is not None and clue.about in SENTENCES:
        found.append(SENTENCES[clue.about](clue, environment))
    if result.error_kind == "syntax":
        what = "the block from there on again; what ran before stays" if ran_lines else "the whole block again"
        found.append(f"Mend the line that the arrow shows and send {what}.")
    if earlier:
        found.append(_again(earlier))
    return [excerpt(text, HINT_CHARS) for text in found]


def earlier_errors(items: Iterable[Input | Item], error: Error | None) -> list[CodeInterpreterCall]:
    """Returns those of the newest fifty blocks of code that raised the same error, oldest first."""
    if error is None:
        return []
    calls = [item for item in items if isinstance(item, CodeInterpreterCall)][-CALLS_BACK:]
    return [call for call in calls if call.result is not None and _same(call.result.error, error)]


def _same(one: Error | None, other: Error) -> bool:
    return one is not None and (one.ename, one.evalue) == (other.ename, other.evalue)


def _again(earlier: Sequence[CodeInterpreterCall]) -> str:
    times = f"{len(earlier)} times" if len(earlier) > 1 else "once"
    tried = dict.fromkeys(_tried(call) for call in earlier[-SHOWN_TRIES:])
    lines = "".join(f"\n- {line}" for line in tried if line)
    return (
        f"The same error came {times} before in this conversation. Find its cause first, for example by printing the"
        f" values and types involved, and then do it another way."
        + (f" These lines raised it:{lines}" if lines else "")
    )


def _tried(call: CodeInterpreterCall) -> str:
    error = call.result.error if call.result is not None else None
    line = failing_line(excerpt("\n".join(error.traceback), 8_000)) if error is not None else ""
    return excerpt(line or call.code.strip().partition("\n")[0], SHOWN_LINE_CHARS)


# ---- sentences --------------------------------------------------------------------------------------


def _names(clue: Clue) -> str:
    more = f" and {clue.more} more" if clue.more else ""
    return ", ".join(map(repr, clue.known)) + more


def _column(clue: Clue, environment: Environment) -> str:
    return f"There is no column {clue.name!r}. The columns are: {_names(clue)}."


def _label(clue: Clue, environment: Environment) -> str:
    return f"There is no label {clue.name!r}. The labels are: {_names(clue)}."


def _key(clue: Clue, environment: Environment) -> str:
    return f"There is no key {clue.name!r}. The keys are: {_names(clue)}." if clue.known else "The dictionary is empty."


def _index(clue: Clue, environment: Environment) -> str:
    return f"It has {''.join(clue.known)} elements, and the first one has index 0."


def _attribute(clue: Clue, environment: Environment) -> str:
    return f"{clue.place} has no {clue.name!r}. Similar names that it has: {_names(clue)}."


def _name(clue: Clue, environment: Environment) -> str:
    near = f" Similar names that are defined: {_names(clue)}." if clue.known else ""
    return f"{clue.name!r} is not defined: import or define it in a block before it is used.{near}"


def _module(clue: Clue, environment: Environment) -> str:
    known = ", ".join(environment.packages) or _names(clue)
    way = (
        "It cannot be installed, since there is no network: use one of these instead"
        if environment.network == "none"
        else "`!pip install` may get it"
    )
    return f"The module {clue.name!r} is not installed. {way}. Installed: {known}."


def _file(clue: Clue, environment: Environment) -> str:
    here = "the working directory" if clue.place == "." else repr(clue.place)
    return f"There is no {clue.name!r} in {here}. It holds: {_names(clue) or 'nothing'}."


def _network(clue: Clue, environment: Environment) -> str:
    host = f" {clue.name!r} cannot be reached." if clue.name else ""
    match environment.network:
        case "none":
            return (
                f"This sandbox has no network.{host} Work with the files that are here, or ask the user for the data."
            )
        case "internal":
            return f"This sandbox reaches only {environment.hosts()}.{host} Use those, or ask the user for the data."
        case "open":
            return f"The network did not reach it.{host} Check the address, or try again once."


SENTENCES: dict[str, Callable[[Clue, Environment], str]] = {
    "attribute": _attribute,
    "column": _column,
    "file": _file,
    "index": _index,
    "key": _key,
    "label": _label,
    "module": _module,
    "name": _name,
    "network": _network,
}
