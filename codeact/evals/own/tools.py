"""Tasks over several functions: look up, combine, search, act, and stop where a function refuses."""

import itertools
import re
from collections.abc import Sequence
from typing import Any, TypedDict

from codeact.evals.checks import all_of, called, equals, json_equals, number
from codeact.evals.outcome import Outcome, Verdict
from codeact.evals.task import Task, code

__all__ = ["TASKS"]

TAG = frozenset({"tools"})

# ---- a shop ------------------------------------------------------------------------------------------

PRICES = {"lamp": 39.5, "desk": 240.0, "chair": 89.9, "shelf": 120.0, "rug": 64.25, "clock": 18.0}
STOCK = {"lamp": 4, "desk": 0, "chair": 12, "shelf": 3, "rug": 0, "clock": 40}


def list_items() -> list[str]:
    """Lists the names of all items in the shop."""
    return sorted(PRICES)


def price(item: str) -> float:
    """Returns the price of an item in euros."""
    if item not in PRICES:
        raise ValueError(f"there is no item {item!r}")
    return PRICES[item]


def stock(item: str) -> int:
    """Returns how many of an item are in stock."""
    return STOCK[item]


def convert(amount: float, currency: str) -> float:
    """Converts euros to USD, GBP or JPY."""
    return amount * {"USD": 1.1, "GBP": 0.85, "JPY": 160.0}[currency]


def shop() -> Sequence[Any]:
    return [list_items, price, stock, convert]


# ---- staff -------------------------------------------------------------------------------------------


class Person(TypedDict):
    """Someone who works here. `manager` is None for the head."""

    name: str
    manager: str | None
    city: str
    salary: int


STAFF: dict[str, Person] = {
    "ada": {"name": "Ada", "manager": None, "city": "Oslo", "salary": 9000},
    "ben": {"name": "Ben", "manager": "ada", "city": "Rome", "salary": 7000},
    "cem": {"name": "Cem", "manager": "ada", "city": "Oslo", "salary": 6800},
    "dia": {"name": "Dia", "manager": "ben", "city": "Rome", "salary": 5200},
    "eli": {"name": "Eli", "manager": "ben", "city": "Bern", "salary": 5100},
    "fay": {"name": "Fay", "manager": "dia", "city": "Rome", "salary": 4100},
    "gus": {"name": "Gus", "manager": "cem", "city": "Oslo", "salary": 4300},
}


def find_people(city: str | None = None) -> list[str]:
    """Returns the ids of people, of all or of those in a city."""
    return [id for id, person in STAFF.items() if city is None or person["city"] == city]


def get_person(id: str) -> Person:
    """Returns one person by id."""
    return STAFF[id]


def people() -> Sequence[Any]:
    return [find_people, get_person]


# ---- things with state -------------------------------------------------------------------------------


class Pages:
    """Messages, ten a page, with a token for the next one."""

    def __init__(self) -> None:
        self.messages = [{"id": n, "from": "bo" if n % 7 == 3 else "al", "size": n * 37 % 101} for n in range(57)]

    def list_messages(self, token: int = 0) -> dict[str, Any]:
        """Returns one page: `messages`, and `next`, the token of the next page, or null."""
        end = token + 10
        return {"messages": self.messages[token:end], "next": end if end < len(self.messages) else None}


class Bank:
    """Accounts between which money moves."""

    def __init__(self) -> None:
        self.balances = {"rent": 400, "food": 120, "fun": 900}

    def balance(self, account: str) -> int:
        """Returns the balance of an account."""
        return self.balances[account]

    def transfer(self, source: str, target: str, amount: int) -> str:
        """Moves money. Refuses more than the source has, and more than 300 at once."""
        if amount > 300:
            raise ValueError("at most 300 at once")
        if amount > self.balances[source]:
            raise ValueError("not enough money")
        self.balances[source] -= amount
        self.balances[target] += amount
        return "ok"


def bank() -> Sequence[Any]:
    made = Bank()
    return [made.balance, made.transfer]


def moved(outcome: Outcome) -> Verdict:
    """Exactly 500 went from fun to rent, by transfers that were accepted."""
    done = [call for call in outcome.calls if call.name == "transfer" and call.error is None]
    total = sum(call.arguments.get("amount", 0) for call in done)
    right = all(call.arguments.get("source") == "fun" and call.arguments.get("target") == "rent" for call in done)
    return Verdict(right and total == 500, f"moved {total} by {len(done)} transfers")


class Flaky:
    """Fails twice before it answers."""

    def __init__(self) -> None:
        self._calls = itertools.count(1)

    def fetch_code(self) -> str:
        """Returns the secret code. The service is busy now and then: try again."""
        if next(self._calls) < 3:
            raise TimeoutError("the service is busy")
        return "kestrel-42"


class Guess:
    """A number to find by halves."""

    def compare(self, guess: int) -> str:
        """Says whether the hidden number, between 1 and 1,000,000, is `higher`, `lower` or `equal`."""
        return "equal" if guess == 731_338 else "higher" if guess < 731_338 else "lower"


def says_that_there_is_none(outcome: Outcome) -> Verdict:
    """The shop was asked, the answer denies that there is a sofa, and names no price."""
    denied = re.search(r"\b(no|not|none|isn't|doesn't)\b", outcome.answer.casefold())
    priced = re.search(r"[€$]|\d", outcome.answer)
    return Verdict(bool(outcome.calls) and denied is not None and priced is None, "expected a denial, and no price")


GRAPH = {"a": {"b": 4, "c": 2}, "b": {"d": 5}, "c": {"b": 1, "d": 8, "e": 10}, "d": {"e": 2}, "e": {}}


def neighbours(place: str) -> dict[str, int]:
    """Returns the places that a road leads to from here, with its length."""
    return GRAPH[place]


def average(*values: float) -> float:
    """Returns the mean of its arguments."""
    return sum(values) / len(values)


def largest(*values: float) -> float:
    """Returns the largest of its arguments."""
    return max(values)


TASKS = [
    Task(
        id="tools/price",
        questions=["What does a chair cost in the shop, in euros?"],
        tools=shop,
        check=all_of(number(89.9), called("price")),
        tags=TAG,
        reference=[code('print(price("chair"))'), "89.9"],
        wrong=[code('print(price("desk"))'), "240"],
    ),
    Task(
        id="tools/total_in_stock",
        questions=["What is everything worth that is in stock, in euros? Answer with the number alone."],
        tools=shop,
        check=all_of(number(sum(PRICES[item] * STOCK[item] for item in PRICES)), called("stock", least=6)),
        tags=TAG,
        reference=[code("print(sum(price(item) * stock(item) for item in list_items()))"), "2316.8"],
        wrong=[code("print(sum(price(item) for item in list_items()))"), "571.65"],
    ),
    Task(
        id="tools/cheapest_available",
        questions=["Which of the items that cost more than 30 euros and are in stock is the cheapest? Its name alone."],
        tools=shop,
        check=equals("lamp"),
        tags=TAG,
        reference=[
            code("print(min((i for i in list_items() if price(i) > 30 and stock(i)), key=price))"),
            "lamp",
        ],
        wrong=["clock"],
    ),
    Task(
        id="tools/currency",
        questions=["What do a desk and two lamps cost together in US dollars? Round to two decimals."],
        tools=shop,
        check=all_of(number(350.9, tolerance=1e-4), called("convert")),
        tags=TAG,
        reference=[code('print(round(convert(price("desk") + 2 * price("lamp"), "USD"), 2))'), "350.9"],
        wrong=["319.00"],
    ),
    Task(
        id="tools/missing_item",
        questions=["What does a sofa cost in the shop? If there is none, say so."],
        tools=shop,
        check=says_that_there_is_none,
        tags=TAG | {"recovery"},
        reference=[code('print(price("sofa"))'), "There is no sofa in the shop."],
        wrong=["A sofa costs 499 €."],
    ),
    Task(
        id="tools/chain_of_command",
        questions=["Name all managers above Fay, from her own manager to the head, as a JSON list of names."],
        tools=people,
        check=json_equals(["Dia", "Ben", "Ada"]),
        tags=TAG,
        reference=[
            code(
                'id, above = "fay", []\n'
                'while (id := get_person(id)["manager"]) is not None:\n    above.append(get_person(id)["name"])\n'
                "print(above)"
            ),
            '["Dia", "Ben", "Ada"]',
        ],
        wrong=['["Dia", "Ada"]'],
    ),
    Task(
        id="tools/average_by_city",
        questions=["What is the mean salary in each city? A JSON object, city to mean."],
        tools=people,
        check=json_equals({"Oslo": 6700, "Rome": 16300 / 3, "Bern": 5100}),
        tags=TAG,
        reference=[
            code(
                "import json, collections\nby = collections.defaultdict(list)\n"
                'for id in find_people():\n    p = get_person(id)\n    by[p["city"]].append(p["salary"])\n'
                "print(json.dumps({c: sum(s) / len(s) for c, s in by.items()}))"
            ),
            '{"Oslo": 6700.0, "Rome": 5433.333333333333, "Bern": 5100.0}',
        ],
        wrong=['{"Oslo": 6700, "Rome": 5000, "Bern": 5100}'],
    ),
    Task(
        id="tools/pages",
        questions=["How large are all messages from bo together? Read every page. The number alone."],
        tools=lambda: [Pages().list_messages],
        check=all_of(number(sum(n * 37 % 101 for n in range(57) if n % 7 == 3)), called("list_messages", least=6)),
        tags=TAG,
        reference=[
            code(
                "token, total = 0, 0\nwhile token is not None:\n    page = list_messages(token)\n"
                '    total += sum(m["size"] for m in page["messages"] if m["from"] == "bo")\n    token = page["next"]\n'
                "print(total)"
            ),
            f"The total is {sum(n * 37 % 101 for n in range(57) if n % 7 == 3)}",
        ],
        wrong=[code("print(len(list_messages()['messages']))"), "45"],
    ),
    Task(
        id="tools/transfer_in_parts",
        questions=["Move 500 from the account fun to the account rent. Then say what rent has."],
        tools=bank,
        check=all_of(moved, number(900)),
        tags=TAG | {"recovery"},
        reference=[
            code('transfer("fun", "rent", 300); transfer("fun", "rent", 200)\nprint(balance("rent"))'),
            "The account rent has 900.",
        ],
        wrong=[code('transfer("fun", "rent", 300)\nprint(balance("rent"))'), "The account rent has 900."],
    ),
    Task(
        id="tools/busy_service",
        questions=["Fetch the secret code. The code alone."],
        tools=lambda: [Flaky().fetch_code],
        check=all_of(equals("kestrel-42"), called("fetch_code", least=3)),
        tags=TAG | {"recovery"},
        reference=[
            code("print(fetch_code())"),
            code(
                "for _ in range(5):\n    try:\n        print(fetch_code()); break\n"
                "    except Exception as error:\n        print(error)"
            ),
            "kestrel-42",
        ],
        wrong=["kestrel"],
    ),
    Task(
        id="tools/halving",
        questions=["Find the hidden number with at most 25 calls. The number alone."],
        tools=lambda: [Guess().compare],
        check=all_of(number(731_338), called("compare", most=25)),
        tags=TAG,
        reference=[
            code(
                "low, high = 1, 1_000_000\nwhile True:\n    middle = (low + high) // 2\n    told = compare(middle)\n"
                '    if told == "equal":\n        break\n'
                '    low, high = (middle + 1, high) if told == "higher" else (low, middle - 1)\nprint(middle)'
            ),
            "731338",
        ],
        wrong=[code("print([compare(n) for n in range(30)])"), "731338"],
    ),
    Task(
        id="tools/shortest_way",
        questions=["How long is the shortest way from a to e? The length alone."],
        tools=lambda: [neighbours],
        check=all_of(number(10), called("neighbours", least=4)),
        tags=TAG,
        reference=[
            code(
                'import heapq\nheap, seen = [(0, "a")], set()\nwhile heap:\n    way, at = heapq.heappop(heap)\n'
                '    if at == "e":\n        print(way); break\n    if at not in seen:\n        seen.add(at)\n'
                "        for to, length in neighbours(at).items():\n            heapq.heappush(heap, (way + length, to))"
            ),
            "10",
        ],
        wrong=["12"],
    ),
    Task(
        id="tools/any_number_of_arguments",
        questions=["Use the functions: by how much is the largest of 3, 8, 14, 15 and 40 above their average?"],
        tools=lambda: [average, largest],
        check=all_of(number(24), called("average"), called("largest")),
        tags=TAG,
        reference=[code("print(largest(3, 8, 14, 15, 40) - average(3, 8, 14, 15, 40))"), "By 24."],
        wrong=["By 26."],
    ),
]
