"""An agent in a plain script: no server, no database. Run it: .venv/bin/python examples/agent_script.py"""

import sys

from codeact import Agent
from codeact.events import CodeOutput, OutputTextDelta
from sandbox_pool.outputs import Stream

question = " ".join(sys.argv[1:]) or "What is the 100th Fibonacci number?"

with Agent() as agent:
    # The whole answer at once.
    print(agent.run(question).output_text)

    # The same conversation goes on, streamed: prose and what the code prints, as they come.
    for event in agent.stream("Count to 3, slowly."):
        match event:
            case OutputTextDelta(delta=delta):
                print(delta, end="", flush=True)
            case CodeOutput(output=Stream(text=text)):
                print(text, end="", flush=True)
    print()
