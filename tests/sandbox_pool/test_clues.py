"""What the kernel reports about an error besides its message. Every backend."""

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.clues import Clue
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.differences import needs_promise

pytestmark = pytest.mark.anyio


async def clue_of(sandbox: Sandbox, code: str) -> Clue:
    async with sandbox.execute(code) as execution:
        await execution.ended()
    assert execution.result.status == "error", execution.result
    assert execution.clue is not None
    return execution.clue


FRAME = "import pandas as pd\ndf = pd.DataFrame({'price': [1], 'date': [2]})\n"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("df['pricee']", "pricee"),
        ("df[['date', 'pricee']]", "pricee"),
        ("df.groupby('pricee').sum()", "pricee"),
        ("df.sort_values('pricee')", "pricee"),
        ("df.drop(columns=['pricee'])", "pricee"),
        ("df.merge(df, on='pricee')", "pricee"),
        ("df.pricee", "pricee"),
        ("def f(frame):\n    return frame['pricee']\nf(df)", "pricee"),
    ],
)
async def test_a_missing_column_is_told_with_the_columns_that_exist(shared: Sandbox, code: str, name: str) -> None:
    clue = await clue_of(shared, FRAME + code)
    assert (clue.about, clue.name, clue.known[0]) == ("column", name, "price")
    assert "date" in clue.known


@pytest.mark.parametrize(
    ("code", "known"),
    [
        ("d = {'alpha': 1, 'beta': 2}\nd['alpa']", ["alpha", "beta"]),
        ("data = {'items': [{'id': 1, 'title': 'x'}]}\ndata['items'][0]['titel']", ["title", "id"]),
        ("rows = [{'id': 1}]\nfor number, row in enumerate(rows):\n    row['title']", ["id"]),
        ("class Box:\n    pass\nbox = Box()\nbox.map = {1: 'a', (2, 3): 'b'}\nbox.map[\n    9\n]", ["1", "(2, 3)"]),
        ("d = {}\nd['a']", []),
        ("def f():\n    inner = {'key': 1}\n    return inner['kye']\nf()", ["key"]),
    ],
)
async def test_a_missing_key_is_told_with_the_keys_that_exist(shared: Sandbox, code: str, known: list[str]) -> None:
    clue = await clue_of(shared, code)
    assert (clue.about, clue.known) == ("key", known)


async def test_many_names_are_cut_and_counted_and_the_nearest_come_first(shared: Sandbox) -> None:
    clue = await clue_of(shared, "d = {f'name_{n}': n for n in range(1000)}\nd['name_777x']")
    assert clue.known[0] == "name_777"
    assert len(clue.known) + clue.more == 1000


@pytest.mark.parametrize(
    ("code", "about", "name", "known"),
    [
        ("import math\nmath.sqroot(2)", "attribute", "sqroot", "sqrt"),
        ("'a'.uper()", "attribute", "uper", "upper"),
        ("from math import sqroot", "attribute", "sqroot", "sqrt"),
        ("total = 1\nprint(totel)", "name", "totel", "total"),
        ("import numpyy", "module", "numpyy", "numpy"),
        ("import numpyy.linalg", "module", "numpyy", "numpy"),
        ("open('sales.csv', 'w').close()\nopen('sale.csv')", "file", "sale.csv", "sales.csv"),
        (
            "import os\nos.makedirs('data', exist_ok=True)\nopen('data/q1.csv', 'w').close()\nopen('data/q2.csv')",
            "file",
            "q2.csv",
            "q1.csv",
        ),
        ("x = [1, 2, 3]\nx[3]", "index", "", "3"),
    ],
)
async def test_what_is_near_a_wrong_name_is_told(shared: Sandbox, code: str, about: str, name: str, known: str) -> None:
    clue = await clue_of(shared, code)
    assert (clue.about, clue.name, clue.known[0]) == (about, name, known)


async def test_a_directory_that_is_missing_is_told_with_what_its_parent_holds(shared: Sandbox) -> None:
    clue = await clue_of(shared, "import os\nos.makedirs('data', exist_ok=True)\nopen('daat/q1.csv')")
    assert (clue.about, clue.place) == ("file", ".")
    assert "data/" in clue.known


@pytest.mark.parametrize(
    ("code", "host"),
    [
        ("import urllib.request\nurllib.request.urlopen('http://files.example.com/x.csv')", "files.example.com"),
        ("import socket\nsocket.create_connection(('192.0.2.1', 80))", ""),
        ("import pandas as pd\npd.read_csv('https://files.example.com/x.csv')", "files.example.com"),
    ],
)
async def test_a_missing_network_is_told_whatever_library_met_it(
    backend: Backend, shared: Sandbox, code: str, host: str
) -> None:
    needs_promise(backend, "isolation")
    clue = await clue_of(shared, code)
    assert clue.about == "network"
    assert clue.name in (host, "")


async def test_an_error_that_says_all_has_no_clue(shared: Sandbox) -> None:
    for code in ("1 / 0", "raise KeyError('mine')", "int('x')"):
        async with shared.execute(code) as execution:
            await execution.ended()
        assert execution.result.status == "error"
        assert execution.clue is None


async def test_objects_that_lie_about_themselves_cost_no_more_than_the_clue(shared: Sandbox) -> None:
    code = """
class Liar(dict):
    def keys(self): raise SystemExit
    def __iter__(self): raise SystemExit
    def __getattr__(self, name): raise AttributeError(name, name=name, obj=self)
class Loud(Exception):
    def __str__(self): raise SystemExit
liar = Liar(a=1)
"""
    for line in ("liar['b']", "liar.b", "raise Loud()", "e = KeyError('x'); e.__cause__ = e; raise e"):
        _, result = await shared.run(code + line)
        assert result.status == "error"
        _, result = await shared.run("print('alive')")
        assert result.status == "ok"


async def test_facts_of_any_size_are_bounded() -> None:
    clue = Clue("x" * 10_000, "y" * 10_000, ["z" * 10_000] * 10_000, 10**30, "p" * 10_000).bounded()
    assert sum(map(len, [clue.about, clue.name, clue.place, *clue.known])) < 20_000
    assert clue.more < 10**10
