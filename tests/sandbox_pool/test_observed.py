"""The observation of a block that ran in a real kernel. Every backend."""

import pytest

from codeact.observations.observation import observation
from sandbox_pool.sandbox.sandbox import Sandbox

pytestmark = pytest.mark.anyio


async def read(sandbox: Sandbox, code: str) -> str:
    outputs, result = await sandbox.run(code)
    assert result.status == "ok", result.error
    return observation(outputs, result, limit_chars=10_000)


@pytest.mark.parametrize(
    "code",
    [
        "class Chart:\n    def _repr_html_(self): return '<table><tr><td>Sales</td><td>42</td></tr></table>'\nChart()",
        "display(Chart())",
        "class Map:\n    def _repr_mimebundle_(self, **_):\n"
        "        return {'text/plain': repr(self), 'text/html': '<p>Sales</p> 42'}\nMap()",
    ],
)
async def test_a_value_with_html_alone_is_read_as_its_text(shared: Sandbox, code: str) -> None:
    text = await read(shared, code)
    assert "Sales" in text
    assert "42" in text
    assert " at 0x" not in text


async def test_nested_progress_bars_are_read_as_few_lines(shared: Sandbox) -> None:
    text = await read(
        shared,
        "from tqdm import tqdm\n"
        "for _ in tqdm(range(8), desc='outer'):\n"
        "    for _ in tqdm(range(30), desc='inner', leave=False, mininterval=0): pass",
    )
    assert "outer: 100%" in text
    assert len(text.splitlines()) < 6


async def test_a_name_that_no_encoding_has_is_read_with_a_mark(shared: Sandbox) -> None:
    text = await read(
        shared,
        "import os\nimport pandas as pd\nopen(b'caf\\xe9.csv', 'w').close()\n"
        "pd.DataFrame({'file': [name for name in os.listdir() if name.startswith('caf')]})",
    )
    assert "caf\ufffd.csv" in text
