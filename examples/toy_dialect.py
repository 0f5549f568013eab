"""A dialect of your own: the form in which a model writes code. Here each line of code begins with `>>> `.

    python examples/toy_dialect.py

docs/write-a-dialect.md explains it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

from codeact import Agent
from codeact.dialect.base import Entry, Name
from codeact.dialect.history import rendered
from codeact.dialect.segments import CodeText, Segment, SegmentWriter, Text
from codeact.environment import Environment
from codeact.model import ChatMessage, TextDelta, Tool, ToolCall, ToolCallDelta
from codeact.models.scripted import ScriptedModel

PROMPT = """You act by writing Python. Begin each line of code with '>>> '. The first line without it ends the code:
then wait for the observation, which shows what the code printed. Answer without code once you know enough."""
MARK = ">>> "


class LinesReader:
    """Reads one reply, line by line, so that pieces of any size give the same segments."""

    def __init__(self) -> None:
        self.done = self.has_text = self.thought_ended = False
        self.rest = self.ending = self.held = ""
        self._line: list[str] = []
        self._writer = SegmentWriter()

    def feed(self, event: TextDelta | ToolCallDelta | ToolCall) -> list[Segment]:
        if isinstance(event, TextDelta):
            self.has_text = True
            for piece in event.text.splitlines(keepends=True):
                self._line.append(piece)
                if piece.endswith("\n"):
                    self._end_line()
        return self._writer.take()

    def finish(self, *, stopped: bool) -> list[Segment]:
        self._end_line()
        if self._writer.in_code and not self.done:
            self._writer.end_code()
        return self._writer.take()

    def _end_line(self) -> None:
        line = "".join(self._line)
        self._line.clear()
        if self.done:
            self.rest += line
        elif line.startswith(MARK):
            if not self._writer.in_code:
                self._writer.start_code(tagged=True)
            self._writer.put(CodeText, line.removeprefix(MARK))
        elif self._writer.in_code and line:
            self._writer.end_code()
            self.done = True
            self.rest = line
        else:
            self._writer.put(Text, line)


class Lines:
    """The dialect. It says `tags`, since an observation is a message of the user here too."""

    name: Name = "tags"
    stop: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    form = "'>>> ' at the beginning of each line of code"
    shows_images = False

    def instructions(
        self, environment: Environment, *, today: date, instructions: str | None = None, functions: str = ""
    ) -> str:
        return "\n\n".join(part for part in (PROMPT, f"Today is {today}.", functions, instructions) if part)

    def messages(
        self, items: Sequence[Entry], *, system: str, model: str, images: Mapping[str, str] | None = None
    ) -> list[ChatMessage]:
        return rendered(items, system=system, model=model)

    def reader(self, *, fences: bool, thinks: Callable[[], bool]) -> LinesReader:
        return LinesReader()


class LinesModel(ScriptedModel):
    """A model that speaks it: an adapter names its dialect."""

    dialect = Lines()


if __name__ == "__main__":
    model = LinesModel(["I count.\n>>> for n in (1, 2):\n>>>     print(n + 40)\nNow I wait.", "It printed 41 and 42."])
    with Agent(model) as agent:
        response = agent.run("Count, please.")
    print(response.output_text, response.output[1].code)
