"""What stands beside the chat, and what is set for one conversation."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.web.chat import Chat, execute

pytestmark = pytest.mark.browser

FIRST = """import pandas as pd
frame = pd.DataFrame({"city": ["Rome", "Oslo"], "people": [28, 7]})
count = 41
page = "<p id=said>first</p><script>said.textContent += ' ' + (1 + 1); window.origin_seen = origin</script>"
open("page.html", "w").write(page)
import os
os.makedirs("data", exist_ok=True)
frame.to_csv("data/cities.csv", index=False)
from PIL import Image
Image.new("RGB", (9, 9), "teal").save("dot.png")
open("report.md", "w").write("![a dot](dot.png) and [cities](data/cities.csv)")
a_name_that_is_so_long_that_it_fits_no_panel_however_wide_the_window_may_be_on_any_desk = 1"""
SECOND = """count += 1
open("page.html", "w").write(page.replace("first", "second"))
from IPython.display import display
bars = [{"type": "bar", "x": ["a"], "y": [1]}]
display({"application/vnd.plotly.v1+json": {"data": bars, "layout": {}}}, raw=True)"""


def test_variables_files_and_artifacts_stand_beside_the_chat(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat], tmp_path: Path
) -> None:
    script(execute(FIRST), "Made.", execute(SECOND), "Changed.")
    chat = visit(scripted.url, viewport={"width": 1400, "height": 900})
    made = chat.ended(chat.ask("make"))
    expect(made.get_by_role("list", name="Files").get_by_role("listitem")).to_have_count(4)
    chat.page.get_by_role("button", name="Files and variables").click()
    side = chat.page.get_by_role("complementary", name="Files and variables")
    side.get_by_role("tab", name="Variables").click()
    expect(side.locator("summary").filter(has_text="count")).to_contain_text("41")
    frame = side.locator("li").filter(has_text="DataFrame")
    frame.locator("summary").click()
    expect(frame.get_by_role("row")).to_have_text(["citypeople", "Rome28", "Oslo7"])

    assert side.locator(".side-body").evaluate("one => one.scrollWidth <= one.clientWidth")

    answer = chat.ended(chat.ask("change"))
    expect(side.locator("summary").filter(has_text="count")).to_contain_text("42")
    expect(answer.frame_locator("iframe").locator(".main-svg").first).to_be_visible()

    answer.get_by_role("button", name="page.html").click()
    page = side.frame_locator("iframe")
    expect(page.locator("#said")).to_have_text("second 2")
    shown = next(one for one in chat.page.frames if one.url.endswith("/artifact.html") and one.query_selector("#said"))
    assert shown.evaluate("window.origin_seen") == "null"
    side.get_by_label("Version").select_option(index=0)
    expect(page.locator("#said")).to_have_text("first 2")
    side.get_by_role("button", name="Full screen").click()
    expect(side).to_have_attribute("data-full", "true")
    chat.page.keyboard.press("Escape")
    expect(side).not_to_have_attribute("data-full", "true")

    side.get_by_role("tab", name="Files").click()
    given = tmp_path / "more.txt"
    given.write_text("more")
    side.locator("input[type=file]").set_input_files(given)
    expect(side.locator(".file")).to_have_count(5)
    with chat.page.expect_download() as download:
        side.get_by_role("link", name="All as ZIP").click()
    packed = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert sorted(packed.namelist()) == ["data/cities.csv", "dot.png", "more.txt", "page.html", "report.md"]
    assert packed.read("more.txt") == b"more"
    side.get_by_role("button", name="cities.csv").click()
    expect(side.get_by_role("row")).to_have_text(["citypeople", "Rome28", "Oslo7"])
    side.get_by_role("tab", name="Files").click()
    side.get_by_role("button", name="report.md").click()
    expect(side.get_by_role("img", name="a dot")).to_have_js_property("naturalWidth", 9)
    with chat.page.expect_download() as download:
        side.get_by_role("link", name="cities").click()
    assert download.value.suggested_filename == "cities.csv"

    chat.page.set_viewport_size({"width": 1024, "height": 700})
    expect(chat.box).to_be_visible()
    beside = "one => one.previousElementSibling.getBoundingClientRect().right"  # where the chat ends
    assert 400 < side.evaluate(beside) <= side.evaluate("one => one.getBoundingClientRect().left")
    chat.page.keyboard.press("Control+k")
    expect(side).to_have_count(0)
    expect(chat.page.get_by_label("Search conversations")).to_be_focused()
    chat.page.get_by_role("button", name="Files and variables").click()
    side.get_by_role("button", name="Close").click()
    expect(side).to_have_count(0)


def test_a_conversation_has_its_own_settings_and_a_folder_and_commands_are_found_by_name(
    scripted: Running, script: Callable[..., None], model_server: ModelServer, visit: Callable[..., Chat]
) -> None:
    script("One.", "Two.", "Three.")
    chat = visit(scripted.url)
    page = chat.page

    def command(name: str) -> None:
        page.keyboard.press("Control+.")
        page.get_by_role("combobox", name="Commands").fill(name)
        page.keyboard.press("Enter")

    expect(chat.box).to_be_focused()
    command("this conv")
    dialog = page.get_by_role("dialog", name="This conversation")
    dialog.get_by_label("Instructions").fill("Answer in rhymes.")
    dialog.get_by_text("High", exact=True).click()
    page.keyboard.press("Escape")
    chat.ended(chat.ask("settled question"))
    page.reload()
    chat.ended(chat.ask("again"))
    command("new conv")
    expect(chat.answers).to_have_count(0)
    chat.ended(chat.ask("another"))
    asked = [request.body for request in model_server.requests]
    assert ["rhymes" in str(body["messages"]) for body in asked] == [True, True, False]
    assert [body.get("reasoning_effort") for body in asked] == ["high", "high", None]
    entry = page.locator(".entry").filter(has_text="settled question")
    entry.hover()
    page.get_by_role("button", name="Actions for settled question").click()
    page.get_by_role("menuitem", name="Folder").click()
    expect(page.get_by_role("dialog").get_by_label("Folder")).to_be_focused()
    page.keyboard.type("My poems")
    page.keyboard.press("Enter")
    folder = page.locator(".folder").filter(has_text="My poems")
    expect(folder.locator(".count")).to_have_text("1")
    folder.locator("summary").click()
    expect(entry).to_be_visible()
    command("settled")
    expect(chat.answers.locator(".prose")).to_have_text(["One.", "Two."])
