"""Scenes of files and charts."""

from collections.abc import Iterator

from playwright.sync_api import expect

from tests.web.chat import Chat, execute
from tests.web.scenes.stage import Stage


def files_and_panel(stage: Stage) -> Iterator[Chat]:
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
    chat.page.get_by_role("button", name="Files and variables").click()
    expect(chat.page.locator(".side .file")).to_have_count(3)
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
