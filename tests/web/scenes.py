"""Brings the chat page into each of its states, for the pictures of the docs and for the accessibility tests.

Each scene is a generator. It operates the page until it has that state, yields it, and then cleans up.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.model_server import Gate, ModelServer, Thought
from tests.web.chat import Chat, Line, execute

__all__ = ["SCENES", "Scene", "Stage"]


@dataclass(frozen=True)
class Stage:
    """What scenes need. The server `bare` does not isolate code, and `locked` requires the key `secret`.

    `visit` opens an address in a new tab; `files` is an empty directory.
    """

    visit: Callable[..., Chat]
    model: ModelServer
    demo: str
    scripted: str
    bare: str
    locked: str
    files: Path
    phone: bool = False

    def script(self, *replies: str) -> None:
        self.model.reset()
        for reply in replies:
            self.model.reply(reply)

    def ask(self, question: str, *replies: str) -> tuple[Chat, Locator]:
        """Asks the question in a new tab and waits for the answer, for which the model gives these replies."""
        self.script(*replies)
        chat = self.visit(self.scripted, expected=("404",))  # The page asks for the link, which does not exist yet.
        return chat, chat.ended(chat.ask(question))

    def open_list(self, chat: Chat) -> None:
        if self.phone:
            chat.page.get_by_label("Show conversations").click()
            expect(chat.page.get_by_role("navigation")).to_be_in_viewport()


Scene = Callable[[Stage], Iterator[Chat]]

PLOT = """import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 10, 400)
plt.figure(figsize=(7, 3))
for damping in (0.1, 0.3, 0.6):
    plt.plot(x, np.exp(-damping * x) * np.cos(3 * x), label=f"damping {damping}")
plt.legend()
plt.show()"""
PLOT_ANSWER = "It dies out **faster with more damping**, while its period stays nearly the same."
TABLE = """import pandas as pd

sales = pd.DataFrame({
    "month": ["January", "February", "March", "April", "May", "June"],
    "north": [1204.5, 1310.0, 1198.2, 1420.9, 1502.3, 1611.0],
    "south": [980.1, 1012.4, 1100.0, 1090.6, 1187.2, 1240.8],
    "online": [2101.0, 2240.7, 2510.3, 2688.9, 2790.4, 3002.2],
})
sales["total"] = sales[["north", "south", "online"]].sum(axis=1)
sales"""
TABLE_ANSWER = """Sales grew by **37 %** from January to June:

| | January | June |
|:--|--:|--:|
| north | 1,204.5 | 1,611.0 |
| south | 980.1 | 1,240.8 |
| online | 2,101.0 | 3,002.2 |
"""
LIVE = """import sys
import time

for epoch in range(1, 4):
    print(f"\\x1b[1mepoch {epoch}\\x1b[0m  loss \\x1b[33m{1 / epoch:.3f}\\x1b[0m  \\x1b[32mok\\x1b[0m")
print("1 sample was skipped", file=sys.stderr)
for step in range(64):
    print(f"\\r[{'#' * (step // 2):<32}] {step}%", end="")
time.sleep(600)"""
HTML = """from IPython.display import HTML

HTML('''<style>body { font: 15px sans-serif } .bar { background: #4b4ad0; color: white; padding: 6px 10px;
margin: 4px 0; border-radius: 6px }</style><h3>Languages by lines</h3><div class="bar" style="width: 85%">Python</div>
<div class="bar" style="width: 52%">TypeScript</div><div class="bar" style="width: 20%">CSS</div>''')"""
MISTAKE = """import json


def read(text):
    return json.loads(text)


read('{"city": "Rome", }')"""


def empty(stage: Stage) -> Iterator[Chat]:
    chat = stage.visit(stage.demo)
    expect(chat.page.locator(".examples button")).to_have_count(4)
    yield chat


def tokens(stage: Stage) -> Iterator[Chat]:
    gate = Gate()
    stage.model.reset()
    stage.model.reply(
        "The sum of the first *n* odd numbers is $n^2$:\n\n$$\\sum_{k=1}^{n} (2k - 1) = n^2$$\n\nI check it for the"
        ' first hundred:\n<execute>\ndef odd_sum(n):\n    """The sum of the first n odd numbers."""\n'
        "    return sum(2 * k - 1 for k in range(1, n + 1))\n\n\nfor n in range(1, 10",
        gate,
    )
    chat = stage.visit(stage.scripted)
    answer = chat.ask("Why do the odd numbers add up to squares?")
    expect(answer.locator(".source")).to_contain_text("range(1, 10")
    expect(answer.locator(".katex-display")).to_be_visible()
    yield chat
    gate.open()
    chat.ended(answer)


def output(stage: Stage) -> Iterator[Chat]:
    stage.script(f"I train it for three epochs.\n{execute(LIVE)}".replace("Let me run this.\n", ""))
    chat = stage.visit(stage.scripted)
    answer = chat.ask("Train the model, and show me how far it is")
    expect(answer.locator(".stdout").last).to_contain_text("63%")
    yield chat
    chat.page.keyboard.press("Escape")
    chat.ended(answer)


def stopped(stage: Stage) -> Iterator[Chat]:
    for chat in output(stage):
        chat.page.keyboard.press("Escape")
        chat.ended(chat.answers)
        yield chat


def plot(stage: Stage) -> Iterator[Chat]:
    chat, answer = stage.ask("How does damping change an oscillation?", execute(PLOT), PLOT_ANSWER)
    answer.locator("img").evaluate("image => image.decode()")
    yield chat


def zoom(stage: Stage) -> Iterator[Chat]:
    for chat in plot(stage):
        chat.answers.get_by_role("button", name="Enlarge").click()
        expect(chat.page.locator(".lightbox img")).to_be_visible()
        yield chat


def table(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("Sum up the sales", execute(TABLE), TABLE_ANSWER)
    yield chat


def html(stage: Stage) -> Iterator[Chat]:
    chat, answer = stage.ask("Which languages is it written in?", execute(HTML), "Mostly Python.")
    expect(answer.frame_locator("iframe").get_by_text("TypeScript")).to_be_visible()
    yield chat


def error(stage: Stage) -> Iterator[Chat]:
    fixed = execute(MISTAKE.replace(", }", "}")).replace("Let me run this.", "JSON takes no comma before the brace:")
    chat, _ = stage.ask("Read this JSON", execute(MISTAKE), fixed, "It says that the city is **Rome**.")
    chat.answers.locator(".cell").first.evaluate("cell => cell.scrollIntoView()")
    yield chat


def long_output(stage: Stage) -> Iterator[Chat]:
    code = "for n in range(5000):\n    print(f'line {n}: {n * n}')"
    chat, answer = stage.ask("Print 5,000 squares", execute(code), "There they are.")
    answer.get_by_text("lines hidden").scroll_into_view_if_needed()
    yield chat


def thinking(stage: Stage) -> Iterator[Chat]:
    stage.model.reset()
    stage.model.reply(Thought("Sixteen is four squared, so its root is 4. No code is needed."), "It is **4**.")
    chat = stage.visit(stage.scripted)
    answer = chat.ended(chat.ask("What is the root of 16?"))
    answer.get_by_text("Thoughts").click()
    yield chat


def limit(stage: Stage) -> Iterator[Chat]:
    code = "import os\nos.kill(os.getpid(), 9)"
    chat, answer = stage.ask("What happens when the kernel dies?", execute(code), "It dies, and I get a **new one**.")
    expect(answer.locator(".cell")).to_have_attribute("data-state", "died")
    yield chat


def kernel_lost(stage: Stage) -> Iterator[Chat]:
    for chat in table(stage):
        chat.lose_kernel()
        stage.script("I read the table again, since its variable is gone.")
        answer = chat.ended(chat.ask("And by quarter?"))
        expect(answer.locator(".notice")).to_contain_text("New kernel")
        yield chat


def refused(stage: Stage) -> Iterator[Chat]:
    stage.model.reset()
    stage.model.reply(status=401, error={"message": "no such key"})
    chat = stage.visit(stage.scripted)
    chat.ended(chat.ask("Are you there?"))
    yield chat


def files(stage: Stage) -> Iterator[Chat]:
    given = stage.files / "measurements.csv"
    given.write_text("day,value\n1,20.5\n2,21.0\n3,19.5\n")
    code = "import pandas as pd\ndata = pd.read_csv('measurements.csv')\n"
    code += "data.describe().to_csv('summary.csv')\ndata.to_json('measurements.json')\nprint(len(data), 'rows')"
    stage.script(execute(code), "The summary and the JSON are below.")
    chat = stage.visit(stage.scripted)
    chat.page.locator("input[type=file]").set_input_files(given)
    chat.ended(chat.ask("Summarise this, and give it to me as JSON, too"))
    chat.page.locator("input[type=file]").set_input_files(given)
    expect(chat.page.locator(".composer .chip")).to_have_count(1)
    yield chat


def files_dialog(stage: Stage) -> Iterator[Chat]:
    for chat in files(stage):
        chat.page.get_by_role("button", name="Files and variables").click()
        expect(chat.page.locator(".side .file")).to_have_count(3)
        yield chat


def variables(stage: Stage) -> Iterator[Chat]:
    for chat in table(stage):
        chat.page.get_by_role("button", name="Files and variables").click()
        chat.page.get_by_role("tab", name="Variables").click()
        chat.page.locator(".variables summary").first.click()
        expect(chat.page.locator(".variables table")).to_be_visible()
        yield chat


PAGE = """page = '<body style="font: 16px sans-serif; text-align: center; padding: 3em"><h2 id="words"></h2>'
page += '<div id="dots" style="font-size: 40px; color: #4b4ad0; letter-spacing: 8px"></div><script>'
page += 'words.textContent = "Made by " + "a script"; dots.textContent = "\u25cf".repeat(6)</script></body>'
open("clock.html", "w").write(page)"""


def artifact(stage: Stage) -> Iterator[Chat]:
    chat, answer = stage.ask("Make me a page", execute(PAGE), "Here it is, beside our conversation.")
    answer.get_by_role("button", name="clock.html").click()
    expect(chat.page.frame_locator(".side iframe").get_by_text("Made by a script")).to_be_visible()
    yield chat


CHART = """from IPython.display import display

trace = {"type": "bar", "x": ["north", "south", "online"], "y": [8246, 6511, 15333]}
layout = {"title": {"text": "Sales by region"}, "margin": {"l": 50, "r": 20, "t": 50, "b": 40}}
display({"application/vnd.plotly.v1+json": {"data": [trace], "layout": layout}}, raw=True)"""


def chart(stage: Stage) -> Iterator[Chat]:
    chat, answer = stage.ask("Draw the sales", execute(CHART), "Most is sold **online**.")
    expect(answer.frame_locator("iframe").locator(".main-svg").first).to_be_visible()
    yield chat


def bin_dialog(stage: Stage) -> Iterator[Chat]:
    for chat in deleted(stage):
        chat.page.get_by_role("button", name="Bin").click()
        expect(chat.page.get_by_role("dialog").get_by_role("button", name="Restore").first).to_be_visible()
        yield chat


def steered(stage: Stage, *, to_its_end: bool = True) -> Iterator[Chat]:
    gate = Gate()
    stage.model.reset()
    stage.model.reply("I take the average of the last", gate, " seven days.")
    stage.model.reply("Then I take the **median**, which a single outlier does not move.")
    chat = stage.visit(stage.scripted)
    answer = chat.ask("Smooth the curve")
    expect(answer.locator(".prose")).to_contain_text("last")
    chat.box.fill("Better the median, there are outliers")
    chat.page.keyboard.press("Enter")
    expect(chat.page.locator(".waits .bubble")).to_be_visible()
    if not to_its_end:
        yield chat
    gate.open()
    expect(chat.answers).to_have_count(2)
    chat.ended(chat.answers.last)
    if to_its_end:
        yield chat


def steering(stage: Stage) -> Iterator[Chat]:
    yield from steered(stage, to_its_end=False)


def branch(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("Name a prime", "**7** is one.")
    chat.page.locator(".bubble").hover()
    chat.page.get_by_role("button", name="Edit", exact=True).click()
    stage.script("**104,729** is the ten-thousandth.")
    chat.page.get_by_label("Edit your question").fill("Name a large prime")
    chat.page.keyboard.press("Enter")
    expect(chat.answers.locator(".prose")).to_contain_text("104,729")
    chat.ended(chat.answers)
    yield chat


def editing(stage: Stage) -> Iterator[Chat]:
    for chat in branch(stage):
        chat.page.locator(".bubble").hover()
        chat.page.get_by_role("button", name="Edit", exact=True).click()
        yield chat


def menu(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("Compare three sorting algorithms", "Merge sort is the steadiest.")
    stage.open_list(chat)
    chat.page.get_by_role("button", name="Actions for Compare").first.click()
    expect(chat.page.get_by_role("menuitem", name="Rename")).to_be_visible()
    yield chat


def deleted(stage: Stage) -> Iterator[Chat]:
    for chat in menu(stage):
        chat.page.get_by_role("menuitem", name="Delete").click()
        stage.open_list(chat)
        expect(chat.page.get_by_role("button", name="Undo")).to_be_visible()
        yield chat


def search(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("Draw the orbit of Halley's comet", "It is long and thin.")
    stage.open_list(chat)
    chat.page.get_by_label("Search conversations").fill("comet")
    expect(chat.page.locator(".entry").first).to_contain_text("Halley")
    yield chat


def dialog(name: str) -> Scene:
    def scene(stage: Stage) -> Iterator[Chat]:
        chat = stage.visit(stage.scripted)
        expect(chat.page.get_by_label("Model", exact=True)).to_be_visible()
        stage.open_list(chat)
        chat.page.get_by_role("button", name=name, exact=True).click()
        expect(chat.page.get_by_role("dialog", name=name)).to_be_visible()
        yield chat

    return scene


def by_key(key: str, name: str) -> Scene:
    def scene(stage: Stage) -> Iterator[Chat]:
        chat = stage.visit(stage.scripted)
        expect(chat.page.get_by_label("Model", exact=True)).to_be_visible()
        chat.page.keyboard.press(key)
        expect(chat.page.get_by_role("dialog", name=name)).to_be_visible()
        yield chat

    return scene


def conversation(stage: Stage) -> Iterator[Chat]:
    chat = stage.visit(stage.scripted)
    chat.page.get_by_role("button", name="This conversation").click()
    expect(chat.page.get_by_role("dialog", name="This conversation")).to_be_visible()
    yield chat


def ledger(stage: Stage) -> Iterator[Chat]:
    for chat in table(stage):
        chat.answers.get_by_role("button", name="Where the time went").click()
        yield chat


def feedback(stage: Stage) -> Iterator[Chat]:
    chat, answer = stage.ask("How far is the Moon?", "**384,400 km** on average.")
    answer.get_by_role("button", name="Good answer").click()
    chat.page.get_by_role("dialog").get_by_role("textbox").fill("Short and right")
    yield chat


def export(stage: Stage) -> Iterator[Chat]:
    chat, _ = stage.ask("How far is the Sun?", "**149.6 million km** on average.")
    chat.page.get_by_role("button", name="Export", exact=True).click()
    expect(chat.page.get_by_role("menuitem", name="Notebook")).to_be_visible()
    yield chat


def share(stage: Stage, question: str = "How far is Mars?", *replies: str) -> Iterator[Chat]:
    chat, _ = stage.ask(question, *(replies or ("**225 million km** on average.",)))
    chat.page.get_by_role("button", name="Share", exact=True).click()
    chat.page.get_by_role("button", name="Make a link").click()
    expect(chat.page.get_by_label("Link", exact=True)).to_be_visible()
    yield chat


def shared(stage: Stage) -> Iterator[Chat]:
    for chat in share(stage, "Sum up the sales", execute(TABLE), TABLE_ANSWER):
        reader = stage.visit(chat.page.get_by_label("Link", exact=True).input_value())
        expect(reader.answers.locator(".prose").last).to_contain_text("Sales grew")
        yield reader


def lost(stage: Stage) -> Iterator[Chat]:
    gate = Gate()
    stage.model.reset()
    stage.model.reply("The first three are 2, 3", gate, " and 5.")
    chat = stage.visit(stage.scripted)
    line = Line(chat)
    answer = chat.ask("Name the first three primes")
    expect(answer.locator(".prose")).to_contain_text("2, 3")
    line.cut()
    yield chat
    gate.open()
    line.mend()
    chat.ended(answer)


def missing(stage: Stage) -> Iterator[Chat]:
    chat = stage.visit(f"{stage.scripted}/c/conv_00000000000000000000000000000000", expected=("404",))
    expect(chat.page.get_by_role("alert")).to_be_visible()
    yield chat


def not_isolated(stage: Stage) -> Iterator[Chat]:
    chat = stage.visit(stage.bare)
    expect(chat.page.get_by_role("note").first).to_contain_text("not isolated")
    expect(chat.page.locator(".examples button")).to_have_count(4)
    yield chat


def key(stage: Stage) -> Iterator[Chat]:
    chat = stage.visit(stage.locked, expected=("401", "[DOM]"))
    expect(chat.page.get_by_label("API key")).to_be_visible()
    yield chat


SCENES: dict[str, Scene] = {
    "empty": empty,
    "tokens": tokens,
    "output": output,
    "stopped": stopped,
    "plot": plot,
    "zoom": zoom,
    "table": table,
    "html": html,
    "error": error,
    "long-output": long_output,
    "thinking": thinking,
    "limit": limit,
    "kernel-lost": kernel_lost,
    "refused": refused,
    "files": files,
    "files-dialog": files_dialog,
    "variables": variables,
    "artifact": artifact,
    "chart": chart,
    "steering": steering,
    "steered": steered,
    "branch": branch,
    "editing": editing,
    "menu": menu,
    "search": search,
    "deleted": deleted,
    "bin": bin_dialog,
    "settings": dialog("Settings"),
    "shortcuts": dialog("Keyboard shortcuts"),
    "palette": by_key("Control+.", "Commands"),
    "conversation": conversation,
    "ledger": ledger,
    "feedback": feedback,
    "export": export,
    "share": share,
    "shared": shared,
    "lost": lost,
    "missing": missing,
    "not-isolated": not_isolated,
    "key": key,
}
