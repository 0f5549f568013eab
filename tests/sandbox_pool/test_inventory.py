"""What a kernel reports about its variables. Every backend."""

import hashlib

import msgspec
import pytest

from sandbox_pool.errors import SandboxGone
from sandbox_pool.inventory import HeldVariable, Inventory, to_inventory
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import StartSandbox, text, value

pytestmark = pytest.mark.anyio

ARTEFACTS = """
import json as js
from math import sqrt
import numpy as np
import pandas as pd

sales = pd.DataFrame({"region": ["north", "south"], "amount": [1.5, 2.5]})
prices = sales["amount"]
grid = np.arange(12, dtype="int32").reshape(3, 4)
limits = {"low": 1, "high": [1, 2, 3]}
title = "Report of May"
ratio = 0.25


class Account:
    def __init__(self, owner, balance):
        self.owner, self.balance = owner, balance


account = Account("Ada", 3)


def area(width, height):
    return width * height


with open("table.csv", "w") as file:
    _ = file.write("a,b\\n")
"""


async def held(sandbox: Sandbox, code: str) -> Inventory:
    _, result = await sandbox.run(code)
    assert result.status == "ok", result
    return await sandbox.inventory()


def named(inventory: Inventory) -> dict[str, HeldVariable]:
    return {variable.name: variable for variable in inventory.variables}


async def test_variables_functions_imports_and_files_are_listed(start: StartSandbox) -> None:
    sandbox = await start()
    inventory = await held(sandbox, ARTEFACTS)
    known = named(inventory)
    assert (known["sales"].type, known["sales"].shape) == ("pandas.DataFrame", "(2, 2)")
    assert "'region'" in known["sales"].detail
    assert "'amount' float64" in known["sales"].detail
    assert "'north', 1.5" in known["sales"].head
    assert (known["prices"].type, known["prices"].shape) == ("pandas.Series", "(2,)")
    assert (known["grid"].shape, known["grid"].detail) == ("(3, 4)", "dtype int32")
    assert known["grid"].head == "[0, 1, 2, 3, 4, …]"
    assert (known["limits"].type, known["limits"].shape) == ("dict", "2")
    assert known["limits"].head == "{'low': 1, 'high': [1, 2, 3]}"
    assert (known["title"].head, known["ratio"].head) == ("'Report of May'", "0.25")
    assert (known["account"].type, known["account"].head) == ("Account", "Account(owner='Ada', balance=3)")
    functions = {function.name: function for function in inventory.functions}
    assert functions["area"].source == "def area(width, height):\n    return width * height\n"
    assert functions["Account"].kind == "class"
    assert "self.owner, self.balance = owner, balance" in functions["Account"].source
    assert {(each.name, each.module) for each in inventory.imports} >= {
        ("js", "json"),
        ("np", "numpy"),
        ("sqrt", "math"),
    }
    [file] = inventory.files
    assert (file.path, file.size_bytes) == ("table.csv", 4)
    assert file.sha256 == hashlib.sha256(b"a,b\n").hexdigest()
    assert inventory.omitted == 0
    assert await value(sandbox, "sorted(name for name in dir() if 'inventory' in name)") == "[]"


async def test_no_code_of_the_users_runs(start: StartSandbox) -> None:
    sandbox = await start()
    inventory = await held(
        sandbox,
        "ran = []\n"
        "import time, pandas\n"
        "def note(*args):\n    ran.append(args); time.sleep(1000)\n"
        "class Evil:\n"
        "    __repr__ = __str__ = __len__ = __iter__ = __getattr__ = __eq__ = __hash__ = __format__ = note\n"
        "    shape = dtype = columns = property(note)\n"
        "class Meta(type):\n    __name__ = property(note)\n    __module__ = property(note)\n    __repr__ = note\n"
        "class DataFrame(list):\n    __len__ = __iter__ = __repr__ = note\n    shape = dtypes = property(note)\n"
        "DataFrame.__module__ = 'pandas.core.frame'\n"
        "class Text(str):\n    __repr__ = __len__ = note\n"
        "evil, fake, text_ = Evil(), DataFrame(), Text('x')\n"
        "meta = Meta('M', (), {})()\n"
        "inside = [evil, {'a': fake}, (text_, meta)]\n"
        "frame = pandas.DataFrame({'a': [evil]}, dtype=object)\n",
    )
    assert set(named(inventory)) == {"ran", "evil", "fake", "text_", "meta", "inside", "frame"}
    assert await value(sandbox, "ran") == "[]"


async def test_it_is_bounded_in_number_and_size(start: StartSandbox) -> None:
    sandbox = await start()
    inventory = await held(
        sandbox,
        "for number in range(1000):\n    globals()[f'name_{number}'] = 'x' * 100_000\n"
        "loop = []\nloop.append(loop)\n"
        "huge = 10 ** 1_000_000\n"
        "deep = []\n"
        "for _ in range(100_000): deep = [deep]\n"
        "half = '\\ud800'\n"
        "for number in range(300): open(f'file_{number}', 'w').close()\n",
    )
    assert len(inventory.variables) <= 200
    assert len(inventory.files) == 200
    assert inventory.omitted > 800
    assert all(len(variable.head) <= 200 for variable in inventory.variables)


async def test_what_is_newest_is_listed_where_not_all_is(start: StartSandbox) -> None:
    sandbox = await start()
    inventory = await held(sandbox, "for number in range(1000):\n    globals()[f'name_{number}'] = number\nlast = 1")
    assert {"last", "name_999"} <= set(named(inventory))


async def test_it_answers_while_code_runs(shared: Sandbox) -> None:
    async with shared.execute("busy = 1\nprint('on')\nimport time\nwhile True: time.sleep(0.01)") as execution:
        await anext(execution)
        inventory = await shared.inventory()
    assert "busy" in named(inventory)


async def test_a_kernel_that_has_gone_holds_nothing(start: StartSandbox) -> None:
    sandbox = await start()
    await sandbox.close()
    with pytest.raises(SandboxGone):
        await sandbox.inventory()


async def test_the_kernel_goes_on_as_before(shared: Sandbox) -> None:
    await shared.inventory()
    outputs, _ = await shared.run("print('well')")
    assert text(outputs) == "well\n"


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b'{"variables": 1}',
        b'{"variables": [{"name": 1}]}',
        b'{"files": [{"path": "a", "size_bytes": -1}]}',
        b'{"variables": [{"name": "' + b"x" * 1_000 + b'"}]}',
        b'{"omitted": 0' + b" " * 1_000_000 + b"}",
        b'{"variables": [' + b'{"name":"a"},' * 1_000 + b'{"name":"a"}]}',
    ],
)
def test_an_answer_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError), match=r"Expected|too large"):
        to_inventory(content)
