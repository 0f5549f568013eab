"""The splitter of growing source, against `ast`, for every split of the text into pieces."""

import ast
import glob
import pickle
import random
import warnings

import pytest

from codeact.dialect.statements import Statements
from tests.eager_corpus import examples, scripts
from tests.needs import LONG

CASES = [
    "x = 1\ny = 2\n",
    "if x:\n    a\nelse:\n    b\nc = 1\n",
    "if x: pass\nelif y: pass\n\n# between\nelse: pass\nelsewhere = 1\n",
    "try:\n    a\nexcept E:\n    b\nexcept* F:\n    c\nfinally:\n    d\nfinally_ = 2\n",
    "for i in a:\n    b\nelse:\n    c\nwhile d:\n    e\n",
    "@a\n@b(\n  1)\n\n# why\nclass C:\n    x = 1\n\n    def f(self):\n        pass\n\ny = C()\n",
    "match x:\n    case 1:\n        pass\n    case _:\n        pass\ncase = 1\nmatch = 2\nz = match\n",
    "x = [\n1,\n2]\ny = {'a':\n(3)}\n",
    "x = 1 + \\\n  2\nif a and \\\n b:\n  c\nd\n",
    "s = '''a\nb'''\nt = \"\"\"it's # no\n\"\"\"\nu = ''\nv = \"\"\n",
    "s = 'a\\'b'; t = \"x\\\ny\"; u = r'\\'\n'\n",
    "f'{x}' f\"{y!r:>{10}}\"\ng = f'''{a:{b}}\n{c[\"d\"]}'''\nh = f'{{}}{x}'\n",
    "x = f'{a}'  # it's\ny = rf'\\{b}'\nz = f'\\N{BULLET}'\n",
    "async def f():\n    await g()\n\nawait f()\nasync with a as b:\n    pass\nc\n",
    "def f():\n  '''doc\nat column 0\n'''\n\\\n\nx = 1\n",
    "with a as b, \\\n     c as d:\n    pass\r\nx = 1\r\ny = 2\r",
    "from __future__ import annotations\nimport os, sys; x = 1\n\n\n# the end\n",
    "global x\nx = lambda: 0\ndel x\nnonlocal_ = 1; assert nonlocal_, 'no'\n",
    "x: int = 1\n(y) = 2\n-x\n[a for a in ()]\n'doc'\n",
]
"""Each in one piece, in single characters, and cut at every place."""
DENSE = "if x:\n  f'{a:\\}' r''\n'''\n'''\nel\\\n\nelse: y  # c\n@d\nclass e: 1\r\n!z '("
"""Little text with much of the grammar."""


def split(text: str, cuts: list[int]) -> list[str]:
    statements = Statements()
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    found = [statement for piece in pieces for statement in statements.feed(piece)]
    assert "".join((*found, statements.rest)) == text
    return [*found, statements.rest]


def state(statements: Statements) -> str:
    """All that decides about what `feed` returns next."""
    own = {name: value for name, value in vars(statements).items() if name not in ("_pending", "_line")}
    return repr(("".join(statements._pending), own, vars(statements._line)))


def prove(text: str) -> None:
    """Proves that the statements are the same for every split of a text, of which there are 2 ** (its length - 1).

    In the state after any number of characters, a piece of any length gives the statements, and leads to the state,
    that its single characters do. So all series of pieces do.
    """
    statements = Statements()
    found: list[str] = []
    saved, seen = [pickle.dumps(statements)], [(0, state(statements))]
    for character in text:
        found += statements.feed(character)
        saved.append(pickle.dumps(statements))
        seen.append((len(found), state(statements)))
    for begin in range(len(text)):
        for end in range(begin + 1, len(text) + 1):
            statements = pickle.loads(saved[begin])
            piece = statements.feed(text[begin:end])
            assert piece == found[seen[begin][0] : seen[end][0]], (text[:begin], text[begin:end])
            assert state(statements) == seen[end][1], (text[:begin], text[begin:end])


def bodies(source: str) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [ast.dump(node) for node in ast.parse(source).body]


def check(text: str) -> list[str]:
    """Compares the statements of a text with those that Python finds."""
    found = split(text, [])
    assert [body for statement in found for body in bodies(statement)] == bodies(text)
    return found


@pytest.mark.parametrize("text", CASES)
def test_statements_are_those_of_python_for_every_split(text: str) -> None:
    try:
        found = check(text)
    except SyntaxError:  # Syntax of a later Python, or an error on purpose.
        found = split(text, [])
    assert split(text, list(range(1, len(text)))) == found
    for cut in range(1, len(text)):
        assert split(text, [cut]) == found, cut
        statements = Statements()
        assert statements.feed(text[:cut]) == found[: len(found)][: len(split(text[:cut], [])) - 1]


@pytest.mark.parametrize("text", [DENSE, *CASES] if LONG else [DENSE])
def test_any_pieces_lead_to_the_statements_of_single_characters(text: str) -> None:
    prove(text)


@pytest.mark.long
def test_scripts_have_the_same_statements_however_they_are_split() -> None:
    """For every split of the 360 shortest (in `make test-long`), and of all at each place."""
    for text in [*scripts(), *examples()] if LONG else scripts()[::6]:
        if LONG and len(text) <= 200:
            prove(text)
        found = split(text, [])
        for cut in range(1, len(text)):
            assert split(text, [cut]) == found, (text, cut)


def test_source_files_are_split_into_their_statements() -> None:
    chance = random.Random(17)
    paths = sorted(glob.glob("codeact/**/*.py", recursive=True))
    for path in chance.sample(paths, 60):
        with open(path) as file:
            text = file.read()
        found = check(text)
        assert max(len(bodies(statement)) for statement in found[:-1] or [""]) <= 1
        cuts = sorted(chance.sample(range(1, len(text)), min(200, len(text) // 4))) if len(text) > 8 else []
        assert split(text, cuts) == found


def test_a_statement_is_complete_as_early_as_it_can_be() -> None:
    statements = Statements()
    assert statements.feed("x = 1") == []
    assert statements.feed("\n") == ["x = 1\n"]
    assert statements.feed("if x:\n    y\n\n# c\nel") == []
    assert statements.feed("se:\n    z\nel") == []
    assert statements.feed("m") == ["if x:\n    y\n\n# c\nelse:\n    z\n"]
    assert statements.feed(" = 3\n") == ["elm = 3\n"]


@pytest.mark.parametrize(
    "text",
    ["%%bash\nls\nls\n", ">>> x = 1\n>>> y\n1\n", "In [1]: x = 1\nIn [2]: y = 1\n", "  x = 1\n  y = 2\n"],
)
def test_a_block_that_only_makes_sense_as_a_whole_stays_whole(text: str) -> None:
    assert split(text, []) == [text]
    assert split(text, list(range(1, len(text)))) == [text]


def test_magics_and_shell_lines_end_where_their_text_ends() -> None:
    lines = ["!ls \"'(\n", "x = !grep '[\n", "%time f('\n", "y = %sql (\n", "!a \\\n b'\n", "?print\n", "z = 1\n"]
    text = "".join(lines)
    assert split(text, []) == [*lines, ""]
    assert split(text, list(range(1, len(text)))) == [*lines, ""]
    assert split("a = (b\n% c)\nd\n", []) == ["a = (b\n% c)\n", "d\n", ""]
