"""Scripts of which eager and whole-block execution must give the same."""

import doctest
import importlib
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["examples", "generated", "scripts"]

TEMPLATES = Path(__file__).with_name("eager_scripts.txt")
"""Templates, each after a line with the values of its `@`; a `¤` is an `@`. Those after `#= tables` need pandas."""


DOCUMENTED = (
    *("binascii", "collections", "decimal", "difflib", "enum", "fractions", "heapq", "http.cookies", "ipaddress"),
    *("json", "statistics", "textwrap"),
)
"""Modules of the standard library whose docstrings have examples that show the same each time."""


def scripts(*, tables: bool = True) -> list[str]:
    """Returns all scripts that were written for this."""
    plain, _, more = TEMPLATES.read_text("utf-8").partition("#= tables\n")
    found = re.findall(r"^#@ (.+)\n((?:(?!#@).*\n)+)", plain + (more if tables else ""), re.MULTILINE)
    return [text.replace("@", value).replace("¤", "@") for values, text in found for value in json.loads(values)]


def examples() -> list[str]:
    """Returns the examples in the docstrings of the standard library, as scripts: one for each docstring."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [
        f"from {name} import *\n" + "".join(example.source for example in test.examples)
        for name in DOCUMENTED
        for test in finder.find(importlib.import_module(name), name)
        if test.examples
    ]


def generated(chance: random.Random) -> Iterator[str]:
    """Yields programs of random statements, without end."""
    while True:
        names = ["n0"]
        lines = ["n0 = 1\n"]
        for number in range(1, chance.randint(2, 9)):
            lines.append(_statement(chance, names, f"n{number}"))
            names.append(f"n{number}")
        yield "".join(lines) + chance.choice(
            ["", f"{chance.choice(names)}\n", f"print({chance.choice(names)})\n", "# end"]
        )


def _statement(chance: random.Random, names: list[str], new: str) -> str:
    old = chance.choice(names)
    comment = chance.choice(["", "  # it's (", "\n", "\n# {between\n"])
    return chance.choice(
        [
            f"{new} = {old} + {chance.randint(0, 9)}{comment}\n",
            f"{new} = [\n  {old},\n][0]{comment}\n",
            f"if {old} % 2:\n    {new} = 'odd'; {new} = 3\nelif {old} > 5:\n    {new} = 5\n"
            f"{comment}\nelse: {new} = 7\n",
            f"for {new} in range(3):\n    if {new} > {old}:\n        break\nelse:\n    print('else', {new})\n",
            f"def f_{new}(a, *, b={old}):\n    '''It's\n  a doc'''\n\n    return a + b\n"
            f"{comment}\n{new} = f_{new}(1)\n",
            f"class C_{new}:\n    v = {old}\n\n    def get(self): return self.v\n{new} = C_{new}().get()\n",
            f"try:\n    {new} = {old} // 0\nexcept ZeroDivisionError:\n    {new} = -1\nfinally:\n    print('{new}')\n",
            f"{new} = len(f'{{{old}!r:>{{5}}}}' '''x\ny''')\n",
            f"with open('{new}.txt', 'w') as file:\n    {new} = file.write(str({old}))\n",
            f"print({old}, end=' '); {new} = {old}\n",
            f"{new} = {old} \\\n  + 1\n",
            f"{new} = (lambda v: v * 2)({old})\n{old}\n",
        ]
    )
