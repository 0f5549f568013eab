"""Shows the events of an answer on a terminal, in colours, as soon as they arrive.

A terminal shows everything. If stdout is a pipe or a file, it gets only prose and output: errors, notices and what the
code wrote to stderr go to stderr, and the code is not shown.
"""

from typing import Any

from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style
from rich.syntax import Syntax
from rich.text import Text

from codeact import events as e
from codeact.ansi import SGR
from codeact.cli.controls import TerminalText
from codeact.cli.markdown import StreamedMarkdown
from codeact.cli.pictures import Picture, Pictures
from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    Output,
    Stream,
    UpdateDisplayData,
)

__all__ = ["Renderer"]

DIM = Style.parse("dim")
RED = Style.parse("red")
YELLOW = Style.parse("yellow")
CYAN = Style.parse("cyan")

HIGHLIGHTED_LINES = 100
"""How many lines back the highlighter looks for an open string, which limits the work per line."""


class Renderer:
    """Shows answers one after the other; the caller passes every event of an answer to `show`, in order.

    Control sequences in text of the sandbox and the model are removed, except colours. On a terminal the model's words
    are rendered as Markdown, and pictures are saved by `pictures`, if given.
    """

    def __init__(self, console: Console, diagnostics: Console | None = None, pictures: Pictures | None = None) -> None:
        self._console = console
        self._diagnostics = diagnostics or Console(stderr=True)
        self._interactive = console.is_terminal
        self._colours = console.is_terminal and console.color_system is not None and not console.no_color
        self._syntax = Syntax("", "python", theme="ansi_dark", background_color="default")
        self._pictures = pictures if self._interactive else None
        self._prose: StreamedMarkdown | None = None
        self._section = ""
        self._newlines = 2
        self._notices: set[str] = set()
        self._start_item()

    def _start_item(self) -> None:
        self._model_text = TerminalText(colours=False)
        self._lines_shown: list[str] = []  # The last lines, for the highlighter.
        self._line: list[str] = []  # The pieces of the unfinished line.
        self._streams = {name: TerminalText(colours=self._colours) for name in ("stdout", "stderr")}

    def show(self, event: e.Event) -> None:
        """Writes and flushes what the event adds. Raises `OSError` if the reader of a pipe is gone."""
        match event:
            case e.OutputItemAdded():
                self._end_prose()
                self._start_item()
            case e.OutputTextDelta(delta=delta):
                self._begin("prose")
                self._show_prose(self._model_text.feed(delta))
            case e.ReasoningTextDelta(delta=delta) if self._interactive:
                self._begin("thinking")
                self._write(self._model_text.feed(delta), DIM)
            case e.CodeDelta(delta=delta) if self._interactive:
                *lines, rest = self._model_text.feed(delta).split("\n")
                if lines:
                    lines[0] = "".join((*self._line, lines[0]))
                    self._line.clear()
                    self._show_code(lines)
                self._line.append(rest)
            case e.CodeDone(code=code) if self._interactive:
                rest = (
                    "".join(self._line) if self._lines_shown or self._line else TerminalText(colours=False).feed(code)
                )
                if rest.strip():
                    self._show_code(rest.rstrip().split("\n"))
            case e.CodeOutput(output=output):
                self._show_output(output)
            case e.CompactionCompacting() if self._interactive:
                self._report("Earlier messages are summarised.", DIM)
            case e.ResponseCreated(response=response):
                self._notices = set()
                for notice in response.notices:
                    self._show_notice(notice)
            case e.NoticeEvent(notice=notice):
                self._show_notice(notice)
            case e.ResponseCompleted(response=response):
                self._end(response)
            case e.ResponseIncomplete(response=response):
                details = response.incomplete_details
                reason = details.reason if details else None
                self._report(f"Incomplete: {reason}." if reason else "Stopped.", YELLOW)
                self._end(response)
            case e.ResponseFailed(response=response):
                self._report(f"Error: {response.error.message if response.error else 'unknown'}", RED)
                self._end(response)

    def break_off(self) -> None:
        """Ends an answer whose terminal event will not arrive; prints no message."""
        self._end_prose()
        self._end_colours()
        self._fresh_line()
        self._section = ""
        self._newlines = 2

    # ---- code and output ---------------------------------------------------------------------------

    def _show_code(self, lines: list[str]) -> None:
        """Shows these new lines of code, highlighted, with a bar before each."""
        new = len(lines)
        self._begin("code")
        window = [*self._lines_shown, *lines][-max(new, HIGHLIGHTED_LINES) :]
        highlighted = self._syntax.highlight("\n".join(window)).split("\n", allow_blank=True)
        for line in highlighted[len(window) - new : len(window)]:
            self._write("│ ", CYAN)
            self._console.print(line, soft_wrap=True)
        self._newlines = 1
        self._lines_shown = window[-HIGHLIGHTED_LINES:]

    def _show_output(self, output: Output) -> None:
        self._begin("output")
        match output:
            case Stream(name="stdout", text=text):
                self._write(self._streams["stdout"].feed(text))
            case Stream(text=text):
                self._write_aside(self._streams["stderr"].feed(text), RED)
            case Error(traceback=traceback, ename=ename, evalue=evalue):
                self._fresh_line()
                lines = "\n".join(traceback) or f"{ename}: {evalue}"
                self._write_aside(TerminalText(colours=self._colours).feed(lines) + "\n")
            case DisplayData(data=data) | ExecuteResult(data=data) | UpdateDisplayData(data=data):
                self._fresh_line()
                self._show_data(data)
            case ClearOutput():
                pass  # A terminal cannot remove lines that have scrolled by.

    def _show_prose(self, text: str) -> None:
        if not self._interactive:
            self._write(text)
            return
        if self._prose is None:
            self._prose = StreamedMarkdown(self._console)
        self._prose.feed(text)
        self._newlines = 1

    def _end_prose(self) -> None:
        prose, self._prose = self._prose, None
        if prose is not None:
            prose.end()

    def _show_data(self, data: dict[str, Any]) -> None:
        picture = Picture.of(data) if self._pictures is not None else None
        if self._pictures is None or picture is None:
            self._write(TerminalText(colours=self._colours).feed(_as_text(data)) + "\n")
            return
        self._console.file.write(self._pictures.shown(picture))
        try:
            where = str(self._pictures.save(picture))
        except OSError as error:
            where = f"not saved: {error.strerror}"
        self._write(f"[{picture.kind}{picture.size}] {where}\n")

    # ---- notices and the end -----------------------------------------------------------------------

    def _show_notice(self, notice: e.Notice) -> None:
        """Shows a notice once: it may be in the first event and in a `NoticeEvent` as well."""
        if notice.message not in self._notices:
            self._notices.add(notice.message)
            self._report(notice.message, YELLOW)

    def _end(self, response: e.Response) -> None:
        self._end_prose()
        self._fresh_line()
        if line := _summary(response):
            self._report(line, DIM)
        self.break_off()

    def _report(self, message: str, style: Style) -> None:
        """Writes a paragraph about the answer that is not part of it."""
        if self._interactive:
            self._begin("report")
        else:
            self._fresh_line()
        text = TerminalText(colours=False).feed(message)
        self._diagnostics.print(Text(text, style), soft_wrap=True)
        if self._interactive:
            self._newlines = 1

    # ---- writing -----------------------------------------------------------------------------------

    def _begin(self, section: str) -> None:
        """Begins a section of this kind, with a blank line after a section of another kind."""
        if section == self._section:
            return
        self._end_prose()
        if self._section:
            self._end_colours()
            self._write("\n" * (2 - self._newlines))
        self._section = section

    def _end_colours(self) -> None:
        """Resets colours that the code's output turned on and did not turn off."""
        if self._colours and self._section == "output":
            self._write("\x1b[0m")

    def _fresh_line(self) -> None:
        if self._newlines == 0:
            self._write("\n")

    def _write(self, text: str, style: Style | None = None) -> None:
        # Written without rich, which would delay or change streamed text, such as progress bars that use `\r`.
        visible = SGR.sub("", text)
        if visible:
            ending = len(visible) - len(visible.rstrip("\n"))
            self._newlines = min(2, ending if ending < len(visible) else self._newlines + ending)
        if style is not None and self._colours:
            text = style.render(text, color_system=ColorSystem.STANDARD)
        self._console.file.write(text)
        self._console.file.flush()

    def _write_aside(self, text: str, style: Style | None = None) -> None:
        """Writes a program's stderr: between the other output on a terminal, else to our own stderr."""
        if self._interactive:
            self._write(text, style)
        else:
            self._diagnostics.file.write(text)
            self._diagnostics.file.flush()


def _as_text(data: dict[str, Any]) -> str:
    """Returns the best form of a MIME bundle that a terminal can show; an image by its type and size."""
    if images := sorted(kind for kind in data if kind.startswith("image/")):
        picture = Picture.of({images[0]: data[images[0]]})
        return f"[{images[0]}{picture.size if picture is not None else ''}]"
    for kind in ("text/plain", "text/markdown", "text/latex"):
        if kind in data:
            return str(data[kind]).removesuffix("\n")
    return f"[{next(iter(data), 'nothing')}]"


def _summary(response: e.Response) -> str:
    """Returns time to the first token, total time, tokens and cost, as far as they are known."""
    parts = []
    if response.ledger.first_token_s is not None:
        parts.append(f"first token {response.ledger.first_token_s:.2f} s")
    if response.ledger.total_s is not None:
        parts.append(f"total {response.ledger.total_s:.2f} s")
    usage = response.usage
    if usage is not None and usage.total_tokens:
        about = "about " if usage.estimated else ""
        parts.append(f"{about}{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out")
    if usage is not None and usage.cost_usd:
        parts.append(f"${usage.cost_usd:.4f}")
    return " · ".join(parts)
