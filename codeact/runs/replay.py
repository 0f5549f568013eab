"""Rebuilds a response's items from the frames of its log, including items that were open at the end."""

from collections.abc import Iterable

import msgspec

from codeact import events as e
from sandbox_pool.outputs import Output

__all__ = ["Replay"]


class Replay:
    """The state of a response after the events that were passed to `feed`.

    `output` has every item that was begun, `done` the ids of finished ones. `live` are the outputs of the last block of
    code, and `terminal` is the terminal event, if the log has one.
    """

    def __init__(self) -> None:
        self.output: list[e.Item] = []
        self.done: set[str] = set()
        self.notices: list[e.Notice] = []
        self.live: list[Output] = []
        self.terminal: e.TerminalEvent | None = None

    def feed(self, frames: Iterable[str]) -> None:
        """Adds the next events. It skips events of unknown types, which a newer version may have written."""
        for frame in frames:
            try:
                self._add(e.decode_event(frame))
            except msgspec.ValidationError:
                continue

    def _add(self, event: e.Event) -> None:
        match event:
            case e.OutputItemAdded(item=item):
                self.output.append(item)
                if isinstance(item, e.CodeInterpreterCall):
                    self.live = []
            case e.OutputItemDone(output_index=index, item=item):
                self.output[index] = item
                self.done.add(item.id)
            case e.CodeOutput(output=output):
                self.live.append(output)
            case e.NoticeEvent(notice=notice):
                self.notices.append(notice)
            case e.ResponseCompleted() | e.ResponseIncomplete() | e.ResponseFailed():
                self.terminal = event
            case e.ItemEvent(output_index=index):
                _add_to(self.output[index], event)


def _add_to(item: e.Item, event: e.ItemEvent) -> None:
    match item, event:
        case e.Message(), e.ContentPartAdded(part=e.OutputText() as part):
            item.content.append(part)
        case e.Reasoning(), e.ContentPartAdded(part=e.ReasoningTextPart() as part):
            item.content.append(part)
        case e.Message(), e.OutputTextDelta(delta=delta, logprobs=tokens):
            item.content[0].add(delta)
            item.content[0].logprobs += tokens
        case e.Message(), e.OutputTextAnnotationAdded(annotation=annotation):
            item.content[0].annotations.append(annotation)
        case e.Reasoning(), e.ReasoningTextDelta(delta=delta):
            item.content[0].add(delta)
        case e.CodeInterpreterCall(), e.CodeDelta(delta=delta):
            item.add(delta)
        case e.CodeInterpreterCall(), e.CodeDone(code=code):
            item.code = code
        case e.CodeInterpreterCall(), e.InterpreterInterpreting():
            item.status = "interpreting"
        case ((e.FunctionCall() | e.McpCall()), (e.FunctionArgumentsDelta() | e.McpArgumentsDelta())):
            item.arguments += event.delta
        case e.CustomToolCall(), e.CustomInputDelta(delta=delta):
            item.input += delta
        case e.McpCall(), e.McpStep(step=step):
            item.steps.append(step)
