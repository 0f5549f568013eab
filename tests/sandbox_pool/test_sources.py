"""No string literal of a block is changed before it runs, and a pasted session runs. Every backend."""

import pytest

from sandbox_pool.outputs import ExecuteResult
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import text, value

pytestmark = pytest.mark.anyio

HELD = ">>> quoted mail\n... and more\nIn [3]: cell\n   ...: more\n    indented\n%magic\n!shell\nwhat?\n<<<<<<< HEAD\n"

BLOCKS = {
    "a string": "x = '''{held}'''",
    "a string first": "'''{held}'''\nx = '''{held}'''",
    "beside a command": "!true \"it's\"\nx = '''{held}'''\n%time y = 1",
    "an f-string": "!true\nx = f'''{held}'''",
    "in a function": "def f():\n    '''\n    >>> f()\n    '''\n    return '''{held}'''\nx = f()",
    "indented as a whole": "    if True:\n        x = '''{held}'''",
    "indented, with a magic": "    !true\n    x = eval(repr({held!r}))",
    "a cell magic": "%%time\nx = '''{held}'''",
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())
async def test_a_literal_is_never_changed(shared: Sandbox, block: str) -> None:
    _, result = await shared.run(block.format(held=HELD))
    assert result.status == "ok", result.error
    assert await value(shared, f"x == {HELD!r}") == "True"


async def test_a_file_is_written_as_it_stands(shared: Sandbox) -> None:
    await shared.run(f"%%writefile readme\n{HELD}")
    assert await value(shared, f"open('readme').read() == {HELD!r}") == "True"


@pytest.mark.parametrize(
    ("session", "printed", "shown"),
    [
        (">>> y = 3\n>>> y", "", ["3"]),
        (">>> if True:\n...     print('''a\n... b''')\n...\n>>> 2", "a\nb\n", ["2"]),
        (">>> z = 1\n>>> z + 1\n2\n>>> print('hello')\nhello", "hello\n", []),
        ("In [1]: a = 5\n\nIn [2]: for _ in 'x':\n   ...:     print(a)\n5\n\nIn [3]: a + 1\nOut[3]: 6", "5\n", ["6"]),
        ("    >>> print(1)", "1\n", []),
        (">>> y = 2\nprint(y)", "2\n", []),
    ],
)
async def test_a_pasted_session_runs(shared: Sandbox, session: str, printed: str, shown: list[str]) -> None:
    outputs, result = await shared.run(session)
    assert result.status == "ok", result.error
    assert text(outputs) == printed
    assert [output.data["text/plain"] for output in outputs if isinstance(output, ExecuteResult)] == shown


async def test_what_ipython_adds_still_works(shared: Sandbox) -> None:
    outputs, _ = await shared.run("files = !echo one\nfiles")
    assert "['one']" in str(outputs)
    for code in ("ls", "%pwd", "len?", "\n\n%%bash\necho hi", "!echo {1 + 1}"):
        outputs, result = await shared.run(code)
        assert (result.status, result.error) == ("ok", None), code
