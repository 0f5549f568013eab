"""The tasks of the demo model: each returns the next prose and code, given the observations so far."""

import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["TASKS", "Chat"]

_DEMO = "I am the scripted demo, not a language model."
_KINDS = "stdout|stderr|value|display|traceback"


@dataclass(frozen=True, slots=True)
class Chat:
    """The last question, the earlier ones, and the observations since the last one, oldest first."""

    question: str
    earlier: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()

    def number(self, otherwise: int, most: int) -> int:
        """The first number in the question, at most `most`; `otherwise` if there is none."""
        match = re.search(r"\d+", self.question)
        return min(int(match[0][:9]), most) if match else otherwise


def fibonacci(chat: Chat) -> str:
    if not chat.seen:
        return _run(f"{_DEMO} I compute it with a loop.", _FIBONACCI.format(n=chat.number(100, 10_000)))
    return _trouble(chat) or f"The Fibonacci number is **{_shown(chat, 'stdout')}**."


def next_fibonacci(chat: Chat) -> str:
    code = 'n += 1\nprint(f"{n}: {fibonacci(n)}")'
    if not chat.seen:
        return _run(f"{_DEMO} The kernel still has `n` and `fibonacci`, so I take one step.", code)
    if len(chat.seen) == 1 and "NameError" in chat.seen[0]:
        start = next((Chat(text).number(100, 10_000) for text in chat.earlier if "ibonacci" in text), 100)
        again = _FIBONACCI.format(n=start).strip().rpartition("\n")[0]
        return _run("The kernel does not know them any more, so I define them again.", f"{again}\n{code}")
    return _trouble(chat) or f"The next one is **{_shown(chat, 'stdout')}**."


def primes(chat: Chat) -> str:
    if not chat.seen:
        return _run(f"{_DEMO} I sieve for them.", _PRIMES.format(limit=chat.number(1000, 1_000_000)))
    return _trouble(chat) or f"There are **{_shown(chat, 'stdout')}**."


def arithmetic(chat: Chat) -> str:
    if not chat.seen:
        expression = re.search(_ARITHMETIC, chat.question)
        return _run(f"{_DEMO} Python calculates it.", expression[0].strip() if expression else "1 + 1")
    return _trouble(chat) or f"It is **{_shown(chat, 'value')}**."


def total(chat: Chat) -> str:
    if not chat.seen:
        numbers = [int(number[:9]) for number in re.findall(r"\d+", chat.question)] or [100]
        if re.search(r"\bto\b", chat.question) or len(numbers) == 1:
            first = numbers[0] if len(numbers) > 1 else 1
            return _run(f"{_DEMO} I add up a range.", f"sum(range({first}, {numbers[-1]} + 1))")
        return _run(f"{_DEMO} I add them up.", f"sum({numbers})")
    return _trouble(chat) or f"The sum is **{_shown(chat, 'value')}**."


def plot(chat: Chat) -> str:
    if not chat.seen:
        histogram = re.search("histogram|distribution", chat.question, re.IGNORECASE)
        return _run(f"{_DEMO} I draw it with matplotlib.", _HISTOGRAM if histogram else _SINE)
    size = re.search(r"\[image/\w+, (\d+x\d+)", chat.seen[-1])
    shown = f"Here it is, {size[1]} pixels" if size else "Here it is"
    return _trouble(chat) or f"{shown}: {_shown(chat, 'stdout')}."


def mistake(chat: Chat) -> str:
    match len(chat.seen):
        case 0:
            return _run(f"{_DEMO} I add up some prices, carelessly.", _MISTAKE)
        case 1 if "traceback:" in chat.seen[0]:
            reason = chat.seen[0].rstrip().rpartition("\n")[2]
            return _run(f"That raised `{reason}`: one of the prices is text. I convert them.", _FIX)
    return _trouble(chat) or f"Fixed: the prices add up to **{_shown(chat, 'stdout')}**."


def count(chat: Chat) -> str:
    if not chat.seen:
        n = max(1, chat.number(10, 1000))
        return _run(f"{_DEMO} I count slowly, and you see each number as it is printed.", _COUNT.format(n=n))
    return _trouble(chat) or f"Done: the last number was **{_shown(chat, 'stdout').split()[-1]}**."


def table(chat: Chat) -> str:
    if not chat.seen:
        return _run(f"{_DEMO} I make a small table with pandas and summarise it.", _TABLE)
    return _trouble(chat) or f"{_shown(chat, 'stdout')}; the table above has the details."


_ARITHMETIC = r"\(?\d[\d\s.()]*(?:(?:[-+/%]|\*\*?)\s*\(?\d[\d.()]*\s*)+"

TASKS: tuple[tuple[str, Callable[[Chat], str]], ...] = (
    (r"\bthe next (one|number)\b|^(and )?next\b", next_fibonacci),
    (r"fibonacci", fibonacci),
    (r"\bprimes?\b", primes),
    (r"\b(mistake|error|exception|fix|bug|traceback)", mistake),
    (r"\b(plot|draw|chart|graph|histogram|sine|curve)", plot),
    (r"\b(count|live|progress|slow|tick|long-running)", count),
    (r"\b(table|data ?frame|csv|sales|summar)", table),
    (_ARITHMETIC, arithmetic),
    (r"\b(sum|add)\b", total),
)
"""Patterns for a question, each with its task. The first that matches is used."""


def _run(prose: str, code: str) -> str:
    return f"{prose}\n\n<execute>\n{code.strip()}\n</execute>"


def _shown(chat: Chat, kind: str) -> str:
    """The section `kind` of the last observation."""
    section = re.search(rf"^{kind}:\n(.*?)(?=^(?:{_KINDS}):\n|\Z)", chat.seen[-1], re.DOTALL | re.MULTILINE)
    return section[1].strip() if section else "(nothing)"


def _trouble(chat: Chat) -> str:
    """What to say if the last block failed; empty if it succeeded."""
    lines = chat.seen[-1].rstrip().splitlines()
    if lines[0].startswith("Observation: ok"):
        return ""
    if "traceback:" in lines:
        missing = re.search(r"No module named '(\w+)'", lines[-1])
        remedy = f" The sandbox has no {missing[1]}." if missing else ""
        return f"That went wrong, and the demo has no other way: `{lines[-1]}`.{remedy}"
    return f"The code did not finish ({lines[0].removeprefix('Observation: ')}), so I have no answer."


_FIBONACCI = """
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a

n = {n}
print(fibonacci(n))
"""

_PRIMES = """
limit = {limit}
is_prime = [False, False] + [True] * (limit - 1)
for number in range(2, int(limit**0.5) + 1):
    if is_prime[number]:
        is_prime[number * number :: number] = [False] * len(is_prime[number * number :: number])
primes = [number for number in range(limit + 1) if is_prime[number]]
print(f"{{len(primes)}} primes up to {{limit}}, the largest is {{max(primes, default=None)}}")
"""

_SINE = """
import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 4 * np.pi, 400)
plt.plot(x, np.sin(x))
plt.title("sin x")
plt.grid(alpha=0.3)
plt.show()
print(f"sin x on {x.size} points from 0 to {x.max():.2f}")
"""

_HISTOGRAM = """
import matplotlib.pyplot as plt
import numpy as np

sample = np.random.default_rng(1).normal(size=1000)
plt.hist(sample, bins=30)
plt.title("1,000 normal random numbers")
plt.show()
print(f"mean {sample.mean():.3f}, standard deviation {sample.std():.3f}")
"""

_MISTAKE = """
prices = {"tea": 3.5, "coffee": "4.20", "cake": 5}
print(sum(prices.values()))
"""

_FIX = """
print(f"{sum(float(price) for price in prices.values()):.2f}")
"""

_COUNT = """
import time

for number in range(1, {n} + 1):
    print(number, flush=True)
    time.sleep(min(1, 10 / {n}))
"""

_TABLE = """
import pandas as pd

sales = pd.DataFrame(
    {
        "region": ["North", "South", "North", "West", "South", "North"],
        "amount": [120, 340, 210, 90, 160, 240],
    }
)
summary = sales.groupby("region")["amount"].agg(["count", "sum", "mean"])
print(f"{summary['sum'].idxmax()} sells most, {summary['sum'].max()} in all")
summary
"""
