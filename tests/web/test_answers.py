"""How an answer looks while it arrives and when it is complete, in a real Chromium."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.model_server import Gate, ModelServer, Thought
from tests.server.conftest import Running
from tests.web.chat import Chat, example, execute

pytestmark = pytest.mark.browser

OWN = "window.owned = document.title = 'owned'"
HOSTILE = f'<script>{OWN}</script><img src="/none" onerror="{OWN}"><svg onload="{OWN}"></svg>'


def test_an_example_gives_prose_code_output_and_an_answer(demo: Running, visit: Callable[..., Chat]) -> None:
    chat = visit(demo.url)
    expect(chat.page.get_by_role("note")).to_contain_text("Demo model")
    chat.page.get_by_role("button", name=example("fibonacci"), exact=True).click()
    answer = chat.ended(chat.answers)
    expect(answer.locator(".prose").first).to_be_visible()
    expect(answer.locator(".source")).to_contain_text("print")
    expect(answer.locator(".source .hljs-keyword").first).to_be_visible()
    expect(answer.locator(".stdout")).to_contain_text("354224848179261915075")
    expect(answer.locator(".prose").last).to_contain_text("354224848179261915075")
    expect(chat.page.locator("[aria-live=polite]")).to_contain_text("Answer complete")


def test_a_plot_is_shown_as_a_picture_that_can_be_enlarged(demo: Running, visit: Callable[..., Chat]) -> None:
    chat = visit(demo.url)
    chat.page.get_by_role("button", name=example("plot"), exact=True).click()
    answer = chat.ended(chat.answers)
    picture = answer.locator("img")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    answer.get_by_role("button", name="Enlarge").click()
    large = chat.page.locator(".lightbox img")
    fits = large.evaluate("image => image.decode().then(() => image.width)")
    large.click()
    assert large.evaluate("image => image.width") > 2 * fits
    chat.page.keyboard.press("Escape")
    expect(large).to_have_count(0)
    with chat.page.expect_download() as download:
        answer.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "picture.png"


def test_files_that_the_answer_links_to_can_be_downloaded_and_pictures_show(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    plot = "import matplotlib\nmatplotlib.use('agg')\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\n"
    code = f"{plot}plt.savefig('chart.png')\nplt.close()\nopen('report.csv', 'w').write('a,b')"
    links = (
        "[the report](report.csv), [again](sandbox:/workspace/report.csv), [none](none.csv), [web](https://a.example)"
    )
    script(execute(code), f"Here: {links}\n\n![chart](chart.png)")
    chat = visit(scripted.url)
    answer = chat.ended(chat.ask("report"))
    for name in ("the report", "again"):
        with chat.page.expect_download() as download:
            answer.get_by_role("link", name=name).click()
        assert (download.value.suggested_filename, Path(download.value.path()).read_text("utf-8")) == (
            "report.csv",
            "a,b",
        )
    expect(answer.get_by_role("link", name="none")).to_have_count(0)
    expect(answer.get_by_role("link", name="web")).to_have_attribute("href", "https://a.example")
    picture = answer.get_by_role("img", name="chart")
    expect(picture).to_have_attribute("src", re.compile("^blob:"))
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100


def test_output_is_shown_while_the_code_runs_and_escape_stops_it(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("import time\nfor i in range(600):\n    print('line', i)\n    time.sleep(0.1)"))
    chat = visit(scripted.url)
    answer = chat.ask("count")
    expect(answer.locator(".stdout")).to_contain_text("line 3\n")
    expect(answer.locator(".cell")).to_have_attribute("data-state", "running")
    chat.page.keyboard.press("Escape")
    chat.ended(answer)
    expect(answer.locator(".remark")).to_have_text("Stopped")
    expect(answer.locator(".cell")).to_have_attribute("data-state", "stopped")
    expect(answer.locator(".stdout")).to_contain_text("line 3\n")


def test_the_stop_button_stops_a_model_that_hangs(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    model_server.reply("Well,", Gate())
    chat = visit(scripted.url)
    answer = chat.ask("hang")
    expect(answer.locator(".prose")).to_have_text("Well,")
    chat.stop.click()
    chat.ended(answer)
    expect(answer.locator(".remark")).to_have_text("Stopped")


def test_code_is_shown_and_coloured_while_it_is_written(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply("Look:\n<execute>\nfor i in range(3):\n", gate, "    print(i)\n</execute>")
    script("Done.")
    chat = visit(scripted.url)
    answer = chat.ask("write")
    expect(answer.locator(".source .hljs-keyword").first).to_have_text("for")
    expect(answer.locator(".cell")).to_have_attribute("data-state", "writing")
    gate.open()
    chat.ended(answer)
    expect(answer.locator(".stdout")).to_have_text("0\n1\n2\n")


EAGER = """
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (text) {
  const message = JSON.parse(text);
  send.call(this, JSON.stringify(message.type === "response.create" ? {...message, "codeact:eager": true} : message));
};
"""


def test_outputs_stand_below_their_statement_while_the_code_grows(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    gate = Gate()
    model_server.reply(
        "<execute>\n", "x = 5\n", "print('first')\n", "y", gate, " = x\n", "print('second')\n", "</execute>"
    )
    script("Done.")
    chat = visit(scripted.url, script=EAGER)
    answer = chat.ask("write")
    ran = answer.locator(".section[data-ran]")
    expect(ran).to_have_count(1)
    expect(ran.locator(".source")).to_have_text("x = 5\nprint('first')")
    expect(ran.locator(".outputs .stdout")).to_have_text("first\n")
    expect(answer.locator(".section").last.locator(".source")).to_have_text("y")
    gate.open()
    chat.ended(answer)
    expect(answer.locator(".stdout")).to_have_text(["first\n", "second\n"])
    expect(ran).to_have_count(0)


def test_thinking_is_folded_away(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    model_server.reply(Thought("Is it so?"), "It is.")
    chat = visit(scripted.url)
    answer = chat.ended(chat.ask("think"))
    expect(answer.get_by_text("Is it so?")).not_to_be_visible()
    answer.get_by_text("Thoughts").click()
    expect(answer.get_by_text("Is it so?")).to_be_visible()


def test_markdown_becomes_elements_and_brings_nothing_that_runs(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(
        "# Title\n\nA **bold** `word`, $x^2$, $5 and $6:\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        f"```json\n{{\"a\": 1}}\n```\n\n[link](javascript:{OWN.replace(' ', '')}) <b style='color:red'>x</b>"
        "\n\n![a cat](https://a.example/cat.png) <img src=https://a.example/dog.png>"
        f"\n\n$$\ny\n$$\n\n{HOSTILE}\n\nEnd."
    )
    chat = visit(scripted.url, expected=("Applying inline style", "Executing inline event handler", "/none"))
    prose = chat.ended(chat.ask("say")).locator(".prose")
    expect(prose.locator("p").last).to_have_text("End.")
    expect(prose.locator("h1")).to_have_text("Title")
    expect(prose.locator("strong")).to_have_text("bold")
    expect(prose.locator("li")).to_have_text(["one", "two"])
    expect(prose.locator("td")).to_have_text(["1", "2"])
    expect(prose.locator(".katex")).to_have_count(2)
    expect(prose.locator(".katex-display")).to_have_count(1)
    expect(prose.locator("p").first).to_contain_text("$5 and $6")
    expect(prose.locator("pre .hljs-number").first).to_have_text("1")
    assert prose.locator("script, svg:not(.icon), [onerror], [style]:not(.katex *)").count() == 0
    assert prose.locator("a").first.get_attribute("href") is None
    elsewhere = prose.get_by_role("link").filter(has_text=re.compile("cat|dog"))  # The page fetches no pictures.
    expect(elsewhere).to_have_text(["a cat", "https://a.example/dog.png"])
    expect(elsewhere.first).to_have_attribute("href", "https://a.example/cat.png")
    assert chat.page.evaluate("window.owned") is None


def test_what_code_prints_and_displays_runs_nowhere(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><script>{OWN}</script></svg>"
    displays = "; ".join(
        f"display({{{kind!r}: {content!r}}}, raw=True)"
        for kind, content in (
            ("text/html", f"<p>shown</p>{HOSTILE}<iframe srcdoc='{HOSTILE}'></iframe>"),
            ("text/html", f"<table class='dataframe'><tr><td>cell{HOSTILE}</td></tr></table>"),
            ("image/svg+xml", svg),
            ("text/markdown", HOSTILE),
            ("application/javascript", OWN),
        )
    )
    script(execute(f"print({HOSTILE!r})\n{displays}\nraise ValueError({HOSTILE!r})"), "Done.")
    chat = visit(scripted.url, expected=("Content Security Policy", "Blocked script execution", "/none"))
    answer = chat.ended(chat.ask("attack"))
    expect(answer.locator(".stdout")).to_have_text(HOSTILE + "\n")
    expect(answer.locator(".traceback").last).to_contain_text("ValueError")
    expect(answer.frame_locator("iframe").first.get_by_text("shown")).to_be_visible()
    expect(answer.locator(".picture img")).to_have_js_property("naturalWidth", 9)
    assert "owned" not in chat.page.title()
    for frame in chat.page.frames:
        assert frame.evaluate("window.owned") is None
    assert chat.page.frames[-1].evaluate("window.origin") == "null"


def test_a_dataframe_is_a_table_of_the_page(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("import pandas\npandas.DataFrame({'city': ['Rome', 'Oslo'], 'n': [1, 2]})"), "Done.")
    chat = visit(scripted.url)
    table = chat.ended(chat.ask("table")).get_by_role("region", name="Table")
    expect(table.locator("thead th")).to_have_text(["", "city", "n"])
    expect(table.locator("td")).to_have_text(["Rome", "1", "Oslo", "2"])


def test_terminal_output_is_shown_as_a_terminal_would(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    code = "\n".join(
        (
            "import sys",
            "for i in range(101): print(f'\\r{i}%', end='')",
            "print('\\n\\x1b[32mgreen\\x1b[0m \\x1b]0;title\\x07plain')",
            "print('careful', file=sys.stderr)",
        )
    )
    script(execute(code), "Done.")
    chat = visit(scripted.url)
    answer = chat.ended(chat.ask("progress"))
    expect(answer.locator(".stdout")).to_have_text("100%\ngreen plain\n")
    expect(answer.locator(".fg2")).to_have_text("green")
    expect(answer.locator(".stderr")).to_have_text("careful\n")


def test_a_traceback_shows_the_users_frames_and_folds_the_libraries(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("import json\ndef read(text):\n    return json.loads(text)\nread('{')"), "Done.")
    chat = visit(scripted.url)
    failure = chat.ended(chat.ask("fail")).locator(".failure")
    expect(failure.get_by_text("return json.loads(text)").first).to_be_visible()
    expect(failure.locator(".traceback").last).to_contain_text("JSONDecodeError")
    hidden = failure.get_by_text("raw_decode").first
    expect(hidden).not_to_be_visible()
    failure.get_by_text("frames in libraries").click()
    expect(hidden).to_be_visible()


def test_long_output_shows_its_ends_until_all_of_it_is_asked_for(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("for i in range(5000): print('line', i)"), "Done.\n\n" * 40)
    chat = visit(scripted.url)
    answer = chat.ended(chat.ask("much"))
    expect(answer.locator(".answer-tools")).to_be_in_viewport()
    outputs = answer.locator(".outputs")
    expect(outputs).to_contain_text("4,880 lines hidden")
    assert "line 4999" in (outputs.text_content() or "")
    assert "line 2500" not in (outputs.text_content() or "")
    outputs.get_by_role("button", name="Show all").click()
    expect(outputs.locator(".chunk")).to_have_count(25)
    lines = "".join(outputs.locator(".chunk").all_text_contents())
    assert lines == "".join(f"line {i}\n" for i in range(5000))


def test_a_failure_is_told_in_the_servers_words_and_can_be_tried_again(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    model_server.reply(status=401, error={"message": "no such key"})
    script("Better now.")
    chat = visit(scripted.url)
    answer = chat.ended(chat.ask("fail"))
    expect(answer.get_by_role("alert")).to_contain_text("key")
    answer.get_by_role("button", name="Try again").click()
    expect(chat.answers.locator(".prose")).to_have_text("Better now.")


def test_the_ledger_says_where_the_time_went(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("print(1)"), "Done.")
    chat = visit(scripted.url)
    answer = chat.ended(chat.ask("one"))
    answer.get_by_role("button", name="Where the time went").click()
    card = chat.page.get_by_role("dialog", name="Where the time went")
    for step in ("Sandbox", "First token", "Code written", "First output", "Total", "Tokens in"):
        expect(card.get_by_text(step, exact=True)).to_be_visible()


def test_an_answer_is_verified_by_a_button_that_says_where_it_differs(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(execute("print(6 * 7)"), "It is 42.", execute("import random\nprint(random.random())"), "A number.", "None.")
    chat = visit(scripted.url)
    answer = chat.ended(chat.ask("product"))
    answer.get_by_role("button", name="Verify").click()
    expect(answer.get_by_role("status")).to_contain_text("the code gave the same output.")
    answer = chat.ended(chat.ask("number"))
    answer.get_by_role("button", name="Verify").click()
    said = answer.get_by_role("status")
    expect(said).to_contain_text("the code gave something else: block 1, output 1.")
    expect(said.locator("pre").first).to_contain_text("0.")
    answer = chat.ended(chat.ask("no code"))
    expect(answer.get_by_role("button", name="Copy answer")).to_be_visible()
    expect(answer.get_by_role("button", name="Verify")).to_have_count(0)
