"""Charts and PDF files are really drawn: pixels in the sandboxed frame, whose scripts come from this server alone."""

import io
import time
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Locator

from tests.server.conftest import Running
from tests.web.chat import Chat, execute

pytestmark = pytest.mark.browser

SPEC = """{"data": {"values": [{"a": "x", "b": 3}, {"a": "y", "b": 5}]}, "mark": {"type": "bar", "color": "#cc0000"},
 "encoding": {"x": {"field": "a", "type": "nominal"}, "y": {"field": "b", "type": "quantitative"}}}"""
VEGA = f"""import json
from IPython.display import display
spec = json.loads('''{SPEC}''')
display({{"application/vnd.vegalite.v6+json": spec, "text/plain": "chart"}}, raw=True)"""

ALTAIR = f"""from IPython.display import HTML, display
display(HTML('''<div id="place"></div><script>
const chart = document.getElementById("place");
const address = {{ vega: "vega@6?noext", lite: "vega-lite@6", embed: "vega-embed@7" }};
const load = (name) => new Promise((done, failed) => {{
  const script = document.createElement("script");
  script.onload = done;
  script.onerror = failed;
  document.head.append(script);
  script.src = "https://cdn.example/npm/" + name;
}});
load(address.vega).then(() => load(address.lite)).then(() => load(address.embed)).then(() => vegaEmbed(chart, {SPEC}));
</script>'''))"""
"""A page whose own script loads the library, and whose variables have names that ours have, too."""

BOKEH = """import json
from IPython.display import display

def model(name, id, **attributes):
    return {"type": "object", "name": name, "id": id, "attributes": attributes}

field = lambda name: {"type": "field", "field": name}
value = lambda of: {"type": "value", "value": of}
source = model("ColumnDataSource", "s1", data={"type": "map", "entries": [["x", [1, 2, 3]], ["top", [1, 2, 3]]]})
bars = model("VBar", "g1", x=field("x"), top=field("top"), width=value(0.8), fill_color=value("#cc0000"))
view = model("CDSView", "v1", filter=model("AllIndices", "f1"))
figure = model("Figure", "p1", width=300, height=200, toolbar_location=None,
    x_range=model("Range1d", "r1", start=0, end=4), y_range=model("Range1d", "r2", start=0, end=4),
    x_scale=model("LinearScale", "c1"), y_scale=model("LinearScale", "c2"),
    renderers=[model("GlyphRenderer", "d1", data_source=source, glyph=bars, view=view)])
documents = json.dumps({"doc": {"version": "3.10.0", "title": "", "roots": [figure]}})
items = '[{"docid":"doc","roots":{"p1":"place-1"},"root_ids":["p1"]}]'
script = "window.Bokeh.embed.embed_items_notebook(" + documents + ", " + items + ")"
display({"text/html": '<div id="place-1" data-root-id="p1" style="display: contents;"></div>'}, raw=True)
display({"application/javascript": script, "application/vnd.bokehjs_exec.v0+json": ""}, raw=True)"""
"""What Bokeh displays in a notebook: the place, and the script by itself."""

PDF = """content = b"0.8 0 0 rg 20 20 160 60 re f"
objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] /Contents 4 0 R /Resources << >> >>",
    b"<< /Length %d >>\\nstream\\n%s\\nendstream" % (len(content), content)]
pdf, places = b"%PDF-1.4\\n", []
for number, each in enumerate(objects, 1):
    places.append(len(pdf))
    pdf += b"%d 0 obj\\n%s\\nendobj\\n" % (number, each)
start = len(pdf)
pdf += b"xref\\n0 5\\n0000000000 65535 f \\n" + b"".join(b"%010d 00000 n \\n" % at for at in places)
pdf += b"trailer << /Size 5 /Root 1 0 R >>\\nstartxref\\n%d\\n%%%%EOF\\n" % start
open("bill.pdf", "wb").write(pdf)"""


def red_pixels(frame: Locator) -> int:
    """How many pixels of the frame are red on the screen."""
    picture = Image.open(io.BytesIO(frame.screenshot())).convert("RGB")
    colours = picture.getcolors(picture.width * picture.height) or []
    return sum(count for count, (red, green, blue) in colours if red > 180 and green < 60 and blue < 60)  # type: ignore[misc]


def draws(frame: Locator) -> None:
    """Waits until the frame has drawn something red."""
    frame.scroll_into_view_if_needed()
    deadline = time.monotonic() + 60
    while red_pixels(frame) < 500:
        assert time.monotonic() < deadline, frame.content_frame.locator("body").inner_html()[:3000]


def test_charts_of_vega_altair_and_bokeh_and_a_pdf_are_drawn(
    scripted: Running, script: Callable[..., None], visit: Callable[..., Chat]
) -> None:
    chat = visit(scripted.url, viewport={"width": 1400, "height": 900}, expected=("Bokeh", "bokeh", "fake worker"))
    asked: list[str] = []
    chat.page.on("request", lambda request: asked.append(request.url))
    for name, code in (("Vega", VEGA), ("Altair", ALTAIR), ("Bokeh", BOKEH)):
        script(execute(code), f"{name} drew it.")
        draws(chat.ended(chat.ask(name)).locator("iframe"))
    script(execute(PDF), "The bill.")
    answer = chat.ended(chat.ask("PDF"))
    answer.get_by_role("button", name="bill.pdf").click()
    side = chat.page.get_by_role("complementary", name="Files and variables")
    draws(side.locator("iframe"))
    assert [url for url in asked if not url.startswith((scripted.url, "data:", "blob:"))] == []
