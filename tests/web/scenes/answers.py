"""Scenes of one answer: while it arrives, and what it shows."""

from collections.abc import Iterator

from playwright.sync_api import expect

from tests.model_server import Gate, Thought
from tests.web.chat import Chat, execute
from tests.web.scenes.stage import Stage

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


def output_and_stop(stage: Stage) -> Iterator[Chat]:
    stage.script(f"I train it for three epochs.\n{execute(LIVE)}".replace("Let me run this.\n", ""))
    chat = stage.visit(stage.scripted)
    answer = chat.ask("Train the model, and show me how far it is")
    expect(answer.locator(".stdout").last).to_contain_text("63%")
    yield chat
    chat.page.keyboard.press("Escape")
    chat.ended(answer)
    yield chat


def plot_and_zoom(stage: Stage) -> Iterator[Chat]:
    chat, answer = stage.ask("How does damping change an oscillation?", execute(PLOT), PLOT_ANSWER)
    answer.locator("img").evaluate("image => image.decode()")
    yield chat
    answer.get_by_role("button", name="Enlarge").click()
    expect(chat.page.locator(".lightbox img")).to_be_visible()
    yield chat


def table_and_more(stage: Stage) -> Iterator[Chat]:
    """A table, where its time went, its variable, the link to it and its readers' page, and the loss of its kernel."""
    chat, answer = stage.ask("Sum up the sales", execute(TABLE), TABLE_ANSWER)
    yield chat
    answer.get_by_role("button", name="Where the time went").click()
    expect(chat.page.get_by_role("dialog", name="Where the time went")).to_be_visible()
    yield chat
    chat.page.keyboard.press("Escape")
    chat.page.get_by_role("button", name="Files and variables").click()
    chat.page.get_by_role("tab", name="Variables").click()
    chat.page.locator(".variables summary").first.click()
    expect(chat.page.locator(".variables table")).to_be_visible()
    yield chat
    chat.page.get_by_role("complementary").get_by_role("button", name="Close").click()
    chat.page.get_by_role("button", name="Share", exact=True).click()
    chat.page.get_by_role("button", name="Make a link").click()
    expect(chat.page.get_by_label("Link", exact=True)).to_be_visible()
    yield chat
    reader = stage.visit(chat.page.get_by_label("Link", exact=True).input_value())
    expect(reader.answers.locator(".prose").last).to_contain_text("Sales grew")
    expect(reader.page.get_by_text("Markdown block")).to_have_count(0)
    yield reader
    chat.page.bring_to_front()
    chat.page.keyboard.press("Escape")
    chat.lose_kernel()
    stage.script("I read the table again, since its variable is gone.")
    answer = chat.ended(chat.ask("And by quarter?"))
    expect(answer.locator(".notice")).to_contain_text("New kernel")
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


def approval(stage: Stage) -> Iterator[Chat]:
    code = "import shutil\n\nshutil.rmtree('reports/2023', ignore_errors=True)"
    stage.script(execute(code).replace("Let me run this.", "I delete the folder of that year."))
    chat = stage.visit(stage.asking)
    chat.ended(chat.ask("Tidy up the reports of 2023"))
    expect(chat.page.get_by_role("button", name="Approve")).to_be_enabled()
    yield chat


def limit(stage: Stage) -> Iterator[Chat]:
    code = "import os\nos.kill(os.getpid(), 9)"
    chat, answer = stage.ask("What happens when the kernel dies?", execute(code), "It dies, and I get a **new one**.")
    expect(answer.locator(".cell")).to_have_attribute("data-state", "died")
    yield chat


def verified(stage: Stage) -> Iterator[Chat]:
    code = "import random\n\nprint(f'heads: {sum(random.random() < 0.5 for _ in range(1000))}')"
    chat, answer = stage.ask("Toss a coin a thousand times", execute(code), "About half of them are heads.")
    answer.get_by_role("button", name="Verify").click()
    expect(answer.get_by_role("status")).to_contain_text("block 1, output 1")
    yield chat
