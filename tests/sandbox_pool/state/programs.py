"""Random programs for the tests of checkpoints: blocks of code that bind, share, change and print variables."""

import random

__all__ = ["program"]

NAMES = "abcdef"
START = """
import random
import numpy as np, pandas as pd
random.seed({seed}); np.random.seed({seed})
total = 0
class Box:
    made = 0
    def __init__(self, value): self.value = value; Box.made += 1
    def __repr__(self): return f"Box({{self.value!r}})"
def add(number):
    global total
    total += number
    return total
def counter(number):
    def up(step=1):
        nonlocal number
        number += step
        return number
    return up
"""
STATEMENTS = (
    "{x} = [{n}, {m}]",
    "{x} = {y}",
    "{x} = [{y}, {y}]",
    "{x} = {{'k': {y}, {n}: {m}}}",
    "{x} = ({y}, {z})",
    "{x}.append({n})",
    "{x}['new'] = {y}",
    "{x} = Box({y})",
    "{x}.value = {y}",
    "{x} = np.arange({n} + 3000)",
    "{x} = {y}[1:{n} + 2]",
    "{x}[1] = {m}",
    "{x} += 1",
    "{x} = pd.DataFrame({{'p': [{n}, {m}], 'q': ['u', None]}})",
    "{x}.loc[0, 'p'] = {n}",
    "{x} = counter({n})",
    "print({x}())",
    "print(add({n}), Box.made)",
    "print(random.random(), np.random.rand())",
    "{x} = iter([{n}, {m}, 3])",
    "print(next({x}))",
    "del {x}",
    "{x} = lambda q: q + {n}",
    "print({x}({m}))",
    "{x} = memoryview(bytearray(b'abc'))",
    "{x} = {y}.keys()",
    "open('{x}.txt', 'a').write(str({n}))",
    "print(open('{x}.txt').read())",
    "{x}.append({x})",
    "{x} = {{{n}, {m}}}",
    "{x} = np.array([[{y}], [{z}]], dtype=object)",
)
LOOK = """
_names = [name for name in "abcdef" if name in globals()]
print({name: " ".join(repr(globals()[name]).partition(" at 0x")[0].split()) for name in _names})
print([one + other for one in _names for other in _names if globals()[one] is globals()[other]])
"""


def program(seed: int, *, blocks: int, statements: int) -> list[str]:
    """Returns the blocks of a program, which is the same for the same seed. What fails prints its kind of error."""
    source = random.Random(seed)
    found = [START.format(seed=seed) + LOOK]
    for _ in range(blocks):
        lines = []
        for _ in range(statements):
            x, y, z = (source.choice(NAMES) for _ in range(3))
            line = source.choice(STATEMENTS).format(x=x, y=y, z=z, n=source.randrange(9), m=source.randrange(9))
            lines.append(f"try: {line}\nexcept Exception as error: print(type(error).__name__)")
        found.append("\n".join(lines) + LOOK)
    return found
