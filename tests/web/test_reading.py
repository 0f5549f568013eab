"""How answers read: tables, prices, tasks, languages, directions, dates, folded steps, and paper."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.server.conftest import Running
from tests.web.chat import Chat, execute

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}
COLUMNS = [f"Measurement{n}" for n in range(20)]
TABLE = f"|{'|'.join(COLUMNS)}|\n|{'---|' * 20}\n|{'2026-11-30|' * 20}\n"
TEXT = f"""A range of $5-$15. Set `$HOME`, pay $3 or `$4`.

{TABLE}
- [x] read the file
- [ ] write the report

`print` هذا أمر بالعربية

```rust
fn main() {{ println!("hello"); }}
```
"""
WHOLE = """cell => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return new Set([...range.getClientRects()].map(one => Math.round(one.top))).size === 1;
}"""
"""Whether the words of a cell stand on one line."""


def test_an_answer_reads_well_on_a_phone(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    script(TEXT)
    chat = visit(scripted.url, **PHONE)
    answer = chat.ended(chat.ask("show me\n" + "a pasted line\n" * 100))
    question = chat.page.locator(".bubble")
    folded = question.evaluate("one => one.clientHeight")
    chat.page.get_by_role("button", name="Show all").click()
    assert question.evaluate("one => one.clientHeight") > 4 * folded
    chat.page.get_by_role("button", name="Show less").click()
    assert question.evaluate("one => one.clientHeight") == folded
    expect(answer.locator("p code").first).to_have_text("$HOME")
    expect(answer.locator("[data-tex]")).to_have_count(0)
    table = answer.locator("table")
    assert table.evaluate("table => table.scrollWidth > table.clientWidth")
    assert chat.page.evaluate("document.documentElement.scrollWidth") == 390
    assert all(cell.evaluate(WHOLE) for cell in (*table.locator("th").all()[:3], *table.locator("td").all()[:3]))
    expect(answer.get_by_role("img", name="Done", exact=True)).to_have_count(1)
    expect(answer.get_by_role("img", name="Not done", exact=True)).to_have_count(1)
    arabic = answer.locator("p", has_text="هذا")
    assert arabic.evaluate("one => getComputedStyle(one).direction") == "rtl"
    expect(answer.locator(".fence .hljs-keyword")).to_have_text("fn")
    expect(chat.page.locator(".day time")).to_contain_text("Today")
    chat.page.emulate_media(media="print")
    assert all(cell.evaluate(WHOLE) for cell in (*table.locator("th").all()[:3], *table.locator("td").all()[:3]))


def test_saved_and_sent_pictures_are_shown_and_steps_fold(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat], tmp_path: Path
) -> None:
    """Also after a reload, and on paper everything is there."""
    lines = "\n".join(f"value_{n} = {n}" for n in range(60))
    draw = "from PIL import Image\nImage.new('RGB', (40, 30), 'teal').save('chart.png')\nprint('drawn')"
    script(execute(f"{lines}\n{draw}"), "It is in chart.png.")
    given = tmp_path / "given.png"
    Image.new("RGB", (30, 20), "red").save(given)
    chat = visit(scripted.url)
    chat.page.locator("input[type=file]").set_input_files(given)
    answer = chat.ended(chat.ask("draw"))
    for _ in range(2):
        for picture in (answer.get_by_role("img", name="chart.png"), chat.page.locator(".question .sent img")):
            expect(picture).to_be_visible()
            assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") in (30, 40)
        chat.page.reload()
    source = answer.locator(".source")
    expect(source).to_have_attribute("data-boxed", "true")
    answer.get_by_role("button", name="Show all 63 lines").click()
    expect(source).not_to_have_attribute("data-boxed", "true")
    chat.page.emulate_media(media="print", color_scheme="dark")
    expect(chat.page.locator(".sidebar")).to_be_hidden()
    expect(chat.page.locator(".composer")).to_be_hidden()
    assert chat.page.locator(".view").evaluate("view => view.scrollHeight <= view.clientHeight")
    ink = chat.page.locator(".bubble").evaluate("one => getComputedStyle(one).color")
    assert ink == "rgb(28, 27, 26)"
    chat.page.emulate_media(media="screen")
    chat.page.get_by_role("button", name="Settings").click()
    chat.page.get_by_text("Folded", exact=True).click()
    chat.page.keyboard.press("Escape")
    expect(source).to_have_count(0)
    expect(answer.locator(".stdout")).to_have_count(0)
    answer.get_by_role("button", name="Show code").click()
    expect(answer.locator(".stdout")).to_have_text("drawn\n")
