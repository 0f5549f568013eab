"""What agents can do; a function plays the model. Run it: .venv/bin/python examples/agents.py"""

import tempfile
from pathlib import Path

from codeact import Agent, Pool

here = Path(tempfile.mkdtemp())
(here / "sales.csv").write_text("month,eur\nJan,10\nFeb,32\n")


def model(messages: list[dict[str, str]]) -> str:
    """Stands for yours: messages go in, and text comes out, whole or in pieces."""
    last = messages[-1]["content"]
    if "add up" in last:
        return "I add it up.\n<execute>\n" + SUM + "\n</execute>"
    if last.endswith("sleep."):
        return "<execute>\nimport time; time.sleep(600)\n</execute>"
    return "It is 42." if "42" in last else "I see."


SUM = """rows = open("sales.csv").read().split()[1:]
total = sum(int(row.split(",")[1]) for row in rows)
open("total.txt", "w").write(str(total))
print(total)"""

# One agent: a question with a file, and all that comes of it.
with Agent(model, instructions="Answer briefly.") as agent:
    result = agent.run("Please add up.", files=[here / "sales.csv"])
    print(result.answer)
    print([(file.name, file.data) for file in result.files])
    print(result.usage, result.timings.total_s, len(result.items))

    # What takes too long is stopped, and the conversation goes on.
    try:
        agent.run("Please sleep.", timeout=1)
    except Exception as error:
        print(error)

    # The conversation, as a file for later and as a notebook.
    agent.save(here / "talk.json")
    agent.to_notebook(here / "talk.ipynb")

# Later, in another program: the conversation goes on.
with Agent.load(here / "talk.json", model) as agent:
    print(agent.messages[0], agent.run("And now?").answer)

# Many agents, few sandboxes.
with Pool(max_size=2) as pool:
    for number in range(3):
        with Agent(model, pool=pool) as agent:
            print(number, agent.run("Hello.").answer)
