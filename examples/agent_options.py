"""More of what agents take: images, a store, limits, sampling. Run it: .venv/bin/python examples/agent_options.py"""

import asyncio
import io
import tempfile
from pathlib import Path

from PIL import Image

from codeact import Agent, AsyncAgent, Pool, events
from codeact.model import Sampling
from codeact.store.memory import MemoryStore
from sandbox_pool.spec import Limits

data_dir = Path(tempfile.mkdtemp())


def model(messages: list[dict], temperature: float | None = None, max_output_tokens: int | None = None) -> str:
    """Stands for yours. It gets the parameters of sampling that it names."""
    parts = messages[-1]["content"]
    if isinstance(parts, list):
        return f"I see {sum(part['type'] == 'image_url' for part in parts)} images."
    if parts.endswith("memory?"):
        return "<execute>\nx = bytearray(2_000_000_000)\n</execute>"
    return f"temperature={temperature}, at most {max_output_tokens} tokens"


def count(messages: list[dict]) -> str:
    """Counts in a variable, and says what the code has printed."""
    last = messages[-1]["content"]
    if last.endswith("Begin."):
        return "<execute>\nnumber = 1\n</execute>"
    if last.endswith("Count."):
        return "<execute>\nnumber += 1\nprint(f'It is {number}.')\n</execute>"
    return next((line for line in last.splitlines() if line.startswith("It is")), "I see.")


# Images: of Pillow, bytes, or paths.
red = Image.new("RGB", (8, 8), "red")
png = io.BytesIO()
red.save(png, "PNG")
with Agent(model) as agent:
    print(agent.run("What is this?", images=[red, png.getvalue()]).answer)

# How the model's server samples.
with Agent(model, sampling=Sampling(temperature=0.2, max_output_tokens=500)) as agent:
    print(agent.run("How do you sample?").answer)

# What its code may use.
with Agent(model, limits=Limits(memory_mb=512), max_turns=1) as agent:
    result = agent.run("How much memory?")
    print([notice.message for notice in result.notices])

# A database for the conversations: later, another agent goes on with one.
with Agent(model, store="embedded", data_dir=data_dir) as agent:
    agent.run("Remember me.")
    conversation = agent.conversation
with Agent(model, store="embedded", data_dir=data_dir, conversation=conversation) as agent:
    print(agent.messages[0]["content"])


# What its code has made is saved with the conversation: it can go back, or on in two copies.
with Agent(count, store="embedded", data_dir=data_dir) as agent:
    agent.run("Begin.")
    one = agent.checkpoint()
    agent.run("Count.")
    with agent.fork() as other:
        print(one.names, agent.run("Count.").answer, other.run("Count.").answer)
    agent.restore(one)
    print(agent.run("Count.").answer)


# The same with asyncio: an open store, a shared pool, twenty agents at once.
async def many() -> None:
    store = MemoryStore()
    async with Pool(max_size=2) as pool:

        async def ask(number: int) -> str:
            async with AsyncAgent(model, pool=pool, store=store) as agent:
                return (await agent.run(f"Question {number}?")).answer

        answers = await asyncio.gather(*(ask(number) for number in range(20)))
        print(len(answers), "answers")

        async with AsyncAgent(model, pool=pool) as agent:
            async for event in agent.stream("And in pieces?"):
                if isinstance(event, events.OutputTextDelta):
                    print(event.delta)


asyncio.run(many())
