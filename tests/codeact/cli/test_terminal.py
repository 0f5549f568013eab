"""The renderer of answers: what a terminal, a pipe and stderr get."""

import io
from typing import Any

from rich.console import Console

from codeact import events as e
from codeact.cli.terminal import Renderer
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Output, Stream

PLACE: dict[str, Any] = {"item_id": "item_1", "output_index": 0}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAoAAAAHgCAYAAAA10dzk"
"""The first bytes of a PNG with 640 by 480 pixels."""


class Screen:
    """A renderer and its output, to a terminal or a pipe."""

    def __init__(self, *, terminal: bool, colours: bool = False) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        colour_system = "standard" if colours else None
        console = Console(
            file=self.out, force_terminal=terminal, color_system=colour_system, width=80, legacy_windows=False
        )
        self.renderer = Renderer(console, Console(file=self.err, force_terminal=False, width=80))

    def show(self, *events: e.Event) -> str:
        """What these events add to stdout."""
        before = len(self.out.getvalue())
        for event in events:
            self.renderer.show(event)
        return self.out.getvalue()[before:]


def response(status: Any = "in_progress", **fields: Any) -> e.Response:
    return e.Response(id="resp_1", created_at=0, model="demo", status=status, **fields)


def item_added() -> e.Event:
    return e.OutputItemAdded(output_index=0, item=e.Message(id="item_1"))


def prose(text: str) -> e.Event:
    return e.OutputTextDelta(**PLACE, delta=text)


def code(text: str) -> e.Event:
    return e.CodeDelta(**PLACE, delta=text)


def output(value: Output) -> e.Event:
    return e.CodeOutput(**PLACE, output=value)


def test_prose_and_output_are_written_as_they_come() -> None:
    screen = Screen(terminal=True)
    assert screen.show(prose("The ans")) == "The ans\n"
    assert screen.show(prose("wer")) == "\x1b[1A\r\x1b[JThe answer\n"
    assert screen.show(output(Stream("stdout", "50%\r"))) == "\x1b[1A\r\x1b[JThe answer\n\n50%\r"
    assert screen.show(output(Stream("stdout", "100%\n"))) == "100%\n"


def test_code_appears_line_by_line_behind_a_bar() -> None:
    screen = Screen(terminal=True)
    assert screen.show(code("a = 1\nb")) == "│ a = 1\n"
    assert screen.show(code(" = 2")) == ""
    assert screen.show(e.CodeDone(**PLACE, code="a = 1\nb = 2")) == "│ b = 2\n"


def test_code_that_came_without_deltas_is_shown_when_it_is_done() -> None:
    assert Screen(terminal=True).show(e.CodeDone(**PLACE, code="a = 1\nb = 2")) == "│ a = 1\n│ b = 2\n"


def test_code_is_highlighted_across_the_lines_of_one_string() -> None:
    screen = Screen(terminal=True, colours=True)
    screen.show(code('x = """\n'))
    assert "\x1b[33;49mimport in a string" in screen.show(code("import in a string\n"))


def test_a_pipe_gets_prose_and_output_and_nothing_else() -> None:
    screen = Screen(terminal=False)
    screen.show(
        e.ResponseCreated(response=response()),
        e.NoticeEvent(notice=e.Notice("demo_model", "A scripted demo.")),
        item_added(),
        e.ReasoningTextDelta(**PLACE, delta="hm"),
        prose("Let me see."),
        item_added(),
        code("print(45)\n"),
        e.CodeDone(**PLACE, code="print(45)"),
        output(Stream("stdout", "\x1b[32m45\x1b[0m\n")),
        output(Stream("stderr", "\x1b[31mcareful\x1b[0m\n")),
        output(Error("ValueError", "no", ["\x1b[31mValueError\x1b[0m: no"])),
        item_added(),
        prose("It is 45."),
        e.ResponseCompleted(response=response("completed", ledger=e.Ledger(first_token_s=0.5, total_s=2))),
    )
    assert screen.out.getvalue() == "Let me see.\n\n45\n\nIt is 45.\n"
    assert screen.err.getvalue() == ("A scripted demo.\ncareful\nValueError: no\nfirst token 0.50 s · total 2.00 s\n")


def test_stderr_is_red_and_a_traceback_keeps_its_colours_on_a_terminal() -> None:
    screen = Screen(terminal=True, colours=True)
    assert "\x1b[31mcareful\n\x1b[0m" in screen.show(output(Stream("stderr", "careful\n")))
    traceback = ["\x1b[91mValueError\x1b[0m: no"]
    assert "\x1b[91mValueError\x1b[0m: no\n" in screen.show(output(Error("ValueError", "no", traceback)))


def test_without_colours_nothing_escapes_to_the_terminal() -> None:
    screen = Screen(terminal=True, colours=False)
    screen.show(
        e.ReasoningTextDelta(**PLACE, delta="hm"),
        code("import os\n"),
        output(Stream("stdout", "\x1b[32mgreen\x1b[0m\n")),
        output(Stream("stderr", "careful\n")),
    )
    assert "\x1b" not in screen.out.getvalue()


def test_control_sequences_of_model_and_sandbox_never_reach_the_terminal() -> None:
    hostile = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\x1b]0;title\x1b\\"
    screen = Screen(terminal=True, colours=True)
    screen.show(
        e.ResponseCreated(response=response()),
        e.NoticeEvent(notice=e.Notice("limit_reached", hostile)),
        e.ReasoningTextDelta(**PLACE, delta=hostile),
        prose(hostile),
        code(f"x = '{hostile}'\n"),
        output(Stream("stdout", hostile)),
        output(Stream("stderr", hostile)),
        output(ExecuteResult({"text/plain": hostile})),
        output(DisplayData({hostile: "x"})),
        output(Error(hostile, hostile, [hostile])),
        e.ResponseFailed(response=response("failed", error=e.ResponseError("x", hostile))),
    )
    written = screen.out.getvalue() + screen.err.getvalue()
    assert not {"\x07", "\x1b]", "\x1b[2J"} & {part for part in ("\x07", "\x1b]", "\x1b[2J") if part in written}


def test_an_unfinished_sequence_of_one_item_does_not_eat_the_next_one() -> None:
    screen = Screen(terminal=True)
    screen.show(item_added(), prose("end\x1b"), item_added())
    assert screen.show(code("import os\n")).endswith("│ import os\n")


def test_rich_values_are_shown_by_their_most_telling_form() -> None:
    screen = Screen(terminal=True)
    assert screen.show(output(DisplayData({"image/png": PNG, "text/plain": "<Figure>"}))) == ("[image/png 640×480]\n")
    assert screen.show(output(DisplayData({"image/png": "?"}))) == "[image/png]\n"
    assert screen.show(output(ExecuteResult({"text/html": "<b>", "text/plain": "42"}))) == "42\n"
    assert screen.show(output(DisplayData({"application/json": {"a": 1}}))) == "[application/json]\n"


def test_a_value_begins_on_a_line_of_its_own() -> None:
    screen = Screen(terminal=True)
    screen.show(output(Stream("stdout", "no newline")))
    assert screen.show(output(ExecuteResult({"text/plain": "42"}))) == "\n42\n"


def test_a_notice_of_the_first_event_is_not_told_twice() -> None:
    notice = e.Notice("kernel_replaced", "Variables are gone.")
    screen = Screen(terminal=True)
    screen.show(e.ResponseCreated(response=response(notices=[notice])), e.NoticeEvent(notice=notice))
    assert screen.err.getvalue() == "Variables are gone.\n"


def test_each_end_is_told_on_stderr() -> None:
    usage = e.ResponseUsage(input_tokens=1200, output_tokens=34, total_tokens=1234, cost_usd=0.0012)
    cut = e.IncompleteDetails("max_output_tokens")
    failure = e.ResponseError("x", "No model.")
    ends = (
        (
            e.ResponseCompleted(response=response("completed", usage=usage)),
            "1,200 tokens in, 34 out · $0.0012\n",
        ),
        (e.ResponseIncomplete(response=response("cancelled")), "Stopped.\n"),
        (
            e.ResponseIncomplete(response=response("incomplete", incomplete_details=cut)),
            "Incomplete: max_output_tokens.\n",
        ),
        (e.ResponseFailed(response=response("failed", error=failure)), "Error: No model.\n"),
    )
    for event, words in ends:
        screen = Screen(terminal=False)
        screen.show(prose("text"), event)
        assert screen.out.getvalue() == "text\n"
        assert screen.err.getvalue() == words
