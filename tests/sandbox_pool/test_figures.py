"""Figures appear with every backend that the code may choose, with all text in values and figures. Every backend."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.outputs import DisplayData, ExecuteResult, Output, Stream
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import text, value

pytestmark = pytest.mark.anyio

CHOICES = {
    "none": "",
    "use": "import matplotlib\nmatplotlib.use('Agg')",
    "use, for a window": "import matplotlib\nmatplotlib.use('TkAgg')",
    "switched": "import matplotlib.pyplot as plt\nplt.switch_backend('agg')",
    "a setting": "import matplotlib as m\nm.rcParams['backend'] = 'svg'",
    "a magic": "%matplotlib notebook",
    "another magic": "%matplotlib qt",
    "inline": "%matplotlib inline",
}
PLOT = "import matplotlib.pyplot as plt\nplt.close('all')\nplt.plot([1, 2])\n"


def pictures(outputs: Sequence[Output]) -> int:
    return sum("image/png" in each.data for each in outputs if isinstance(each, DisplayData | ExecuteResult))


@pytest.fixture(scope="module")
async def plotting(shared: Sandbox) -> Sandbox:
    """A sandbox with matplotlib loaded, which takes time."""
    await shared.run("import matplotlib.pyplot")
    return shared


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())
async def test_a_figure_is_shown_once_whatever_the_backend(plotting: Sandbox, choice: str) -> None:
    for code in (f"{choice}\n{PLOT}plt.show()", PLOT, f"{PLOT}plt.gcf().show()", f"{PLOT}plt.show()\nplt.close()"):
        outputs, result = await plotting.run(code)
        assert (result.status, pictures(outputs)) == ("ok", 1), (code, outputs)
        assert text(outputs, "stderr") == ""


async def test_the_first_thing_said_may_be_the_backend(sandbox: Sandbox) -> None:
    outputs, _ = await sandbox.run(
        f"import os\nos.environ.clear()\nimport matplotlib\nmatplotlib.use('Agg')\n{PLOT}plt.show()"
    )
    assert pictures(outputs) == 1


async def test_a_figure_without_pyplot_is_a_picture_where_it_is_a_value(plotting: Sandbox) -> None:
    outputs, _ = await plotting.run(
        "from matplotlib.figure import Figure\nfigure = Figure()\nfigure.subplots().plot([1])\nfigure"
    )
    assert pictures(outputs) == 1


async def test_a_backend_that_does_not_exist_is_an_error(plotting: Sandbox) -> None:
    _, result = await plotting.run("import matplotlib\nmatplotlib.use('no such')")
    assert result.error is not None
    assert result.error.ename == "ValueError"


async def test_the_image_writes_chinese_japanese_and_korean(plotting: Sandbox, backend: Backend) -> None:
    if backend.name != "docker":
        pytest.skip("the fonts of a local interpreter are those of its machine")
    plot = "plt.title('\u58f2\u4e0a \u7b80\u4f53 \ud55c\uad6d')\nplt.savefig('title.png')\nplt.close('all')"
    for family in ("", "plt.rcParams['font.family'] = 'sans-serif'", "plt.rcParams['font.sans-serif'] = ['SimHei']"):
        outputs, result = await plotting.run(f"{family}\n{PLOT}{plot}")
        # matplotlib warns of each character that no font has.
        assert (result.status, text(outputs, "stderr")) == ("ok", ""), family
    script = "import matplotlib; matplotlib.use('Agg'); " + f"{PLOT}{plot}".replace("\n", "; ")
    await plotting.write_file("plot.py", script.replace("; ", "\n").encode())
    outputs, _ = await plotting.run("!python plot.py")
    assert text(outputs) == ""


# ---- text ----------------------------------------------------------------------------------------------

SURROGATES = {
    "a value": ("'x\\ud800'.join('ab')", "text/plain"),
    "a display": ("display({'text/plain': 'a\\ud800'}, raw=True)", "text/plain"),
    "html": ("from IPython.display import HTML\nHTML('a\\ud800')", "text/html"),
    "json": ("from IPython.display import JSON\nJSON({'k\\udce9': ['a\\ud800']})", "application/json"),
    "a file's name": (
        "import os\nopen(b'caf\\xe9', 'w').close()\nprint(os.listdir()); set(os.listdir())",
        "text/plain",
    ),
}


@pytest.mark.parametrize(("code", "mime"), SURROGATES.values(), ids=SURROGATES.keys())
async def test_what_no_encoding_has_is_shown_with_a_mark(shared: Sandbox, code: str, mime: str) -> None:
    class_code = code
    if code.startswith("'x"):
        class_code = "class Odd:\n    def __repr__(self): return 'x\\ud800'\nOdd()"
    async with asyncio.timeout(60):
        outputs, result = await shared.run(class_code)
    assert result.status == "ok"
    shown = [each for each in outputs if isinstance(each, DisplayData | ExecuteResult)]
    data = shown[-1].data[mime]
    told = bytes(data).decode() if isinstance(data, msgspec.Raw) else str(data)
    assert "\ufffd" in told or "\\ud" in told
    str(outputs).encode()
    assert all("\ufffd" in each.text or "\\ud" in each.text for each in outputs if isinstance(each, Stream))


async def test_halves_of_one_character_become_it(shared: Sandbox) -> None:
    assert await value(shared, "'\\ud83d' + '\\ude00'") == "\U0001f600"
