"""Tasks on data: group, join, resample, fit and test, with numpy and pandas."""

import csv
import io
import json
import math
import random
import re
import statistics
from typing import Any

from codeact.evals.checks import equals, json_equals, number, runs
from codeact.evals.outcome import Outcome, Verdict
from codeact.evals.task import Check, Task, code

__all__ = ["TASKS"]

TAG = frozenset({"data"})
_random = random.Random(20)  # noqa: S311  # The same data in every run.
SALES: list[dict[str, Any]] = [
    {
        "day": f"2026-{month:02d}-{day:02d}",
        "region": _random.choice(["north", "south", "east"]),
        "product": _random.choice(["tea", "coffee", "cocoa"]),
        "units": _random.randint(1, 40),
        "price": _random.choice([2.5, 3.0, 4.75]),
    }
    for month in range(1, 7)
    for day in (3, 9, 14, 21, 27)
]
HEIGHTS = [round(_random.gauss(172, 9), 1) for _ in range(120)]
LINE = [(x, round(2.5 * x - 7 + _random.uniform(-0.5, 0.5), 3)) for x in range(40)]
TEMPERATURES = [(hour, round(15 + 6 * math.sin(hour / 24 * 2 * math.pi), 2)) for hour in range(72)]


def table(rows: list[dict[str, Any]]) -> bytes:
    """The rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def revenue(**wanted: str) -> float:
    """What was sold where the columns have these values."""
    sold = [sale for sale in SALES if all(sale[column] == value for column, value in wanted.items())]
    return float(sum(sale["units"] * sale["price"] for sale in sold))


def near(expected: dict[str, float], *, within: float) -> Check:
    """The answer has each of the names, with a number near the expected one."""

    def check(outcome: Outcome) -> Verdict:
        for name, value in expected.items():
            _, found, rest = outcome.answer.partition(name)
            figure = re.search(r"-?\d{1,9}(\.\d{1,9})?", rest[:40])
            if not found or figure is None or abs(float(figure[0]) - value) > within:
                return Verdict(False, f"expected {name} near {value:.3f}")
        return Verdict(True)

    return check


SLOPE, INTERCEPT = statistics.linear_regression(*zip(*LINE, strict=True))
FILES = {"sales.csv": table(SALES)}
MONTHS = {
    month: sum(sale["units"] * sale["price"] for sale in SALES if sale["day"].startswith(month))
    for month in (f"2026-{number:02d}" for number in range(1, 7))
}
REGIONS = {region: revenue(region=region) for region in ("north", "south", "east")}
LOAD = "import pandas as pd\nd = pd.read_csv('sales.csv', parse_dates=['day'])\nd['revenue'] = d.units * d.price\n"

TASKS = [
    Task(
        id="data/revenue",
        questions=["What is the revenue (units times price) of all of sales.csv? Two decimals, the number alone."],
        files=FILES,
        check=number(revenue()),
        tags=TAG,
        reference=[code(LOAD + "print(round(d.revenue.sum(), 2))"), f"{revenue():.2f}"],
        wrong=[f"{revenue() + 10:.2f}"],
    ),
    Task(
        id="data/by_region",
        questions=["What is the revenue of each region in sales.csv? A JSON object, region to number."],
        files=FILES,
        check=json_equals(REGIONS),
        tags=TAG,
        reference=[
            code(LOAD + "print(d.groupby('region').revenue.sum().to_json())"),
            json.dumps(REGIONS),
        ],
        wrong=['{"north": 1, "south": 2, "east": 3}'],
    ),
    Task(
        id="data/best_month",
        questions=["In which month of sales.csv was the revenue the largest? As YYYY-MM, nothing else."],
        files=FILES,
        check=equals(max(MONTHS, key=MONTHS.__getitem__)),
        tags=TAG,
        reference=[
            code(LOAD + "print(d.groupby(d.day.dt.strftime('%Y-%m')).revenue.sum().idxmax())"),
            max(MONTHS, key=MONTHS.__getitem__),
        ],
        wrong=[min(MONTHS, key=MONTHS.__getitem__)],
    ),
    Task(
        id="data/pivot",
        questions=[
            "Write pivot.csv: a row for each region, a column for each product, with the units; 0 where none were sold."
        ],
        files=FILES,
        check=runs(
            "import pandas as pd\nd = pd.read_csv('sales.csv')\np = pd.read_csv('pivot.csv', index_col=0)\n"
            "e = d.pivot_table(index='region', columns='product', values='units', aggfunc='sum', fill_value=0)\n"
            "assert sorted(p.index) == sorted(e.index) and set(e.columns) <= set(p.columns), p\n"
            "assert (p.loc[e.index, e.columns] == e).all().all(), p",
            files=FILES,
        ),
        tags=TAG | {"files"},
        reference=[
            code(
                LOAD + "d.pivot_table(index='region', columns='product', values='units', aggfunc='sum', fill_value=0)"
                ".to_csv('pivot.csv')"
            ),
            "It is in pivot.csv.",
        ],
        wrong=[code(LOAD + "d.to_csv('pivot.csv')"), "It is in pivot.csv."],
    ),
    Task(
        id="data/spread",
        questions=[
            "What is the sample standard deviation of the heights in heights.txt? Three decimals, the number alone."
        ],
        files={"heights.txt": "\n".join(map(str, HEIGHTS)).encode()},
        check=number(statistics.stdev(HEIGHTS), tolerance=5e-4),
        tags=TAG,
        reference=[
            code("import statistics\nprint(round(statistics.stdev(map(float, open('heights.txt'))), 3))"),
            f"{statistics.stdev(HEIGHTS):.3f}",
        ],
        wrong=[f"{statistics.pstdev(HEIGHTS) - 0.1:.3f}"],
    ),
    Task(
        id="data/fit",
        questions=[
            "line.csv has points. What are slope and intercept of the best line? A JSON object, two decimals each."
        ],
        files={"line.csv": b"x,y\n" + b"".join(b"%d,%.3f\n" % point for point in LINE)},
        check=near({"slope": SLOPE, "intercept": INTERCEPT}, within=0.011),
        tags=TAG,
        reference=[
            code(
                "import numpy as np, pandas as pd\nd = pd.read_csv('line.csv')\nm, b = np.polyfit(d.x, d.y, 1)\n"
                "print({'slope': round(m, 2), 'intercept': round(b, 2)})"
            ),
            f'{{"slope": {SLOPE:.2f}, "intercept": {INTERCEPT:.2f}}}',
        ],
        wrong=['{"slope": 2.0, "intercept": -7.0}'],
    ),
    Task(
        id="data/daily_maximum",
        questions=[
            "temps.csv has a temperature for each hour of three days. At which hour of day (0 to 23) is it warmest? The number alone."
        ],
        files={"temps.csv": b"hour,celsius\n" + b"".join(b"%d,%.2f\n" % one for one in TEMPERATURES)},
        check=number(6),
        tags=TAG,
        reference=[
            code(
                "import pandas as pd\nt = pd.read_csv('temps.csv')\nprint(t.groupby(t.hour % 24).celsius.mean().idxmax())"
            ),
            "6",
        ],
        wrong=["12"],
    ),
    Task(
        id="data/outliers",
        questions=["Which values of values.json are more than ten times the median? A JSON list in their order."],
        files={"values.json": b"[3, 5, 400, 4, 6, 2, 81, 5, 5, -90, 7]"},
        check=json_equals([400, 81]),
        tags=TAG,
        reference=[
            code(
                "import json, statistics\nv = json.load(open('values.json'))\nm = statistics.median(v)\n"
                "print([x for x in v if x > 10 * m])"
            ),
            "[400, 81]",
        ],
        wrong=["[400, 81, -90]"],
    ),
    Task(
        id="data/duplicates",
        questions=["How many rows of rows.csv are exact repetitions of an earlier row? The number alone."],
        files={"rows.csv": b"a,b\n" + b"".join(b"%d,%d\n" % (n % 7, n % 5) for n in range(100))},
        check=number(65),
        tags=TAG,
        reference=[code("import pandas as pd\nprint(pd.read_csv('rows.csv').duplicated().sum())"), "65"],
        wrong=["35"],
    ),
    Task(
        id="data/matrix",
        questions=[
            "Let A be the 6 by 6 matrix with A[i][j] = 1 / (i + j + 1), counted from 0. What is its largest eigenvalue? Four"
            " decimals, the number alone."
        ],
        check=number(1.6189, tolerance=1e-4),
        tags=TAG,
        reference=[
            code(
                "import numpy as np\nA = np.array([[1 / (i + j + 1) for j in range(6)] for i in range(6)])\n"
                "print(round(max(np.linalg.eigvalsh(A)), 4))"
            ),
            "1.6189",
        ],
        wrong=["1.7189"],
    ),
]
