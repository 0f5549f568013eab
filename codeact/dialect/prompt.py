"""Builds the system prompt and the notes that explain to a model how to work."""

from datetime import date

from codeact.environment import Environment
from codeact.observations.observation import kernel_lost, kernel_restored, observation

__all__ = [
    "BRANCHED",
    "CALL_FORM",
    "LAST_TURN",
    "TAGS_FORM",
    "WENT_BACK",
    "kernel_lost",
    "kernel_restored",
    "last_turn",
    "observation",
    "system_prompt",
]

LAST_TURN = "No more code will run:"
"""The beginning of the message that `last_turn` returns."""

BRANCHED = (
    "The user went back to this point of the conversation and goes on from here. The Python kernel did not go back:"
    " variables and files of what came after this point may still exist."
)

WENT_BACK = (
    "The user went back to this point of the conversation and goes on from here. The Python kernel went back, too:"
    " variables and files are those of this point."
)

TAGS_FORM = """\
To run Python, write a block in exactly this form, and nothing after it:
```text
<execute>
print(6 * 7)
</execute>
```
Or answer the user in words, without tags."""

CALL_FORM = """\
To run Python, call the tool `python` with the code, for example print(6 * 7). There is no other tool; functions \
that are listed are called in the code. Or answer the user in words."""

_SYSTEM = """\
You solve tasks by writing Python that is run for you. You have an IPython kernel in a sandbox of this \
conversation's own; it keeps variables, imports and files from one block to the next.

{how}
Rules
{form}\
- You see only what is printed or displayed, and the value of the last expression. A matplotlib figure is \
shown to the user by plt.show().
{environment}\
- After an error, fix its cause; variables set before it are still there.
- Rely on observations, not on what you remember or guess.

{answer}
Example
{example}"""

_TAGS = {
    "how": """\
To run code, say in a short sentence what it does, write one block, and stop there:

<execute>
print(6 * 7)
</execute>

You then get a message that starts with "Observation:" and shows what was printed, the value of the last \
expression, what was displayed, or the traceback. Read it before you go on: run another block, or answer.
""",
    "form": "- One block per reply and nothing after </execute>. Never write an observation yourself.\n",
    "answer": """\
Once you know the answer, or when no code is needed, answer the user in Markdown without tags. To show code \
that should not run, use a ```text fence.
""",
    "example": """\
User: Which digit sum has 2 to the power of 100?
You: I add up its digits.
<execute>
sum(int(digit) for digit in str(2**100))
</execute>
User: Observation: ok, 0.01 s
value:
115
You: The digit sum of 2¹⁰⁰ is **115**.
""",
}
_CALLS = {
    "how": """\
To run code, say in a short sentence what it does and call the tool `python` with the code. It is the only tool.

Its result starts with "Observation:" and shows what was printed, the value of the last expression, what was \
displayed, or the traceback. Read it before you go on: run more code, or answer.
""",
    "form": "",
    "answer": """\
Once you know the answer, or when no code is needed, answer the user in Markdown.
""",
    "example": """\
User: Which digit sum has 2 to the power of 100?
You: I add up its digits. (You call `python` with: sum(int(digit) for digit in str(2**100)))
Result: Observation: ok, 0.01 s
value:
115
You: The digit sum of 2¹⁰⁰ is **115**.
""",
}


_FUNCTIONS = """\
Functions
These are defined in your kernel; call them in your code like any other. They run outside of the sandbox, may reach \
the network, return what JSON can say (dicts, lists, strings, numbers), and raise CallError where they fail. Several \
calls may share a block.

{functions}
"""


def system_prompt(
    environment: Environment, *, today: date, instructions: str | None = None, functions: str = "", calls: bool = False
) -> str:
    """Returns the system prompt, a few hundred tokens long.

    `environment` describes where the code runs, `instructions` is the caller's own text, and `functions` has the
    signatures and docstrings of the functions that code can call. `calls`: the model sends code as a tool call instead
    of between tags.
    """
    rules = "".join(f"- {rule}\n" for rule in environment.rules(today))
    text = _SYSTEM.format(environment=rules, **(_CALLS if calls else _TAGS))
    if functions:
        text = f"{text}\n{_FUNCTIONS.format(functions=functions)}"
    return f"{text}\nInstructions\n{instructions}\n" if instructions else text


def last_turn(max_turns: int) -> str:
    """Returns the message that asks the model for its answer after it has run code `max_turns` times."""
    return (
        f"{LAST_TURN} you have run code {max_turns} times, the most that is allowed here."
        " Answer now, without tags, from what you have, and say what is missing."
    )
