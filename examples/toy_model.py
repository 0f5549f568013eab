"""A model of your own: anything with a name, `stream` and `estimate`. This one needs no network.

    python examples/toy_model.py

docs/write-a-model.md explains it.
"""

from collections.abc import AsyncGenerator, Sequence

from codeact import Agent
from codeact.model import ChatMessage, Finish, ModelEvent, Sampling, TextDelta, Usage

CODE = """I count the letters.
<execute>
text = "sandbox"
print(len(text))
</execute>"""


class ToyModel:
    """Writes a block of code first, and reads its output out once that has come."""

    name = "toy"

    async def stream(self, messages: Sequence[ChatMessage], sampling: Sampling) -> AsyncGenerator[ModelEvent, None]:
        last = str(messages[-1].content)
        answer = CODE if "How many letters" in last else f"The code printed {last.split()[-1]}."
        for word in answer.split(" "):
            yield TextDelta(f"{word} ")
        yield Finish("stop")
        yield Usage(input_tokens=len(last) // 4, output_tokens=len(answer) // 4, cost_usd=0.0)

    async def estimate(self, messages: Sequence[ChatMessage], output: str) -> Usage:
        """Of a call that was stopped before the provider said what it cost."""
        return Usage(input_tokens=0, output_tokens=len(output) // 4, cost_usd=0.0, estimated=True)


if __name__ == "__main__":
    with Agent(ToyModel()) as agent:
        print(agent.run("How many letters has 'sandbox'?").output_text)
