"""Tasks in which the first attempt fails: the error has to be read and its cause mended."""

from codeact.evals.checks import all_of, equals, json_equals, number, runs
from codeact.evals.outcome import Outcome
from codeact.evals.task import Limits, Task, code

__all__ = ["TASKS"]

TAG = frozenset({"recovery"})
LATIN = "name;city\nJosé;Málaga\nZoë;Köln\nBjörn;Malmö\n".encode("latin-1")
BROKEN_JSON = b'{"a": 1,\n "b": [1, 2, 3,],\n "c": "x",\n}\n'
BUGGY = b'''def median(values):
    """The middle of the sorted values; of an even number, the mean of the two in the middle."""
    ordered = sorted(values)
    middle = len(ordered) / 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle] + ordered[middle + 1]) / 2
'''
MENDED = (
    BUGGY.decode()
    .replace("len(ordered) / 2", "len(ordered) // 2")
    .replace("ordered[middle] + ordered[middle + 1]", "ordered[middle - 1] + ordered[middle]")
)
LOG = b"".join(b"%d,%s\n" % (n, b"n/a" if n in (11, 37) else b"%d" % (n * 3)) for n in range(60))


def recursion(n: int) -> int:
    """The sequence of one task, by a loop."""
    value = 1
    for index in range(1, n + 1):
        value = (3 * value + index) % 1_000_003
    return value


def nothing_failed_last(outcome: Outcome) -> bool:
    """The last block of code ended well."""
    blocks = outcome.blocks
    return bool(blocks) and blocks[-1].result is not None and blocks[-1].result.status == "ok"


TASKS = [
    Task(
        id="recovery/encoding",
        questions=["Which cities are in people.csv? A JSON list in the file's order, nothing else."],
        files={"people.csv": LATIN},
        check=json_equals(["Málaga", "Köln", "Malmö"]),
        tags=TAG | {"files"},
        reference=[
            code('print(open("people.csv", encoding="utf-8").read())'),
            code(
                'print([l.split(";")[1].strip() for l in open("people.csv", encoding="latin-1").readlines()[1:]])',
                "It is not UTF-8.",
            ),
            '["Málaga", "Köln", "Malmö"]',
        ],
        wrong=['["MÃ¡laga", "KÃ¶ln", "MalmÃ¶"]'],
    ),
    Task(
        id="recovery/broken_json",
        questions=["What is the sum of the list b in broken.json? The file has a small mistake. The number alone."],
        files={"broken.json": BROKEN_JSON},
        check=number(6),
        tags=TAG | {"files"},
        reference=[
            code('import json\nprint(sum(json.load(open("broken.json"))["b"]))'),
            code(
                'import re\ntext = re.sub(r",(\\s*[]}])", r"\\1", open("broken.json").read())\nprint(sum(json.loads(text)["b"]))'
            ),
            "6",
        ],
        wrong=[code('import json\njson.load(open("broken.json"))'), "The file cannot be read."],
    ),
    Task(
        id="recovery/mend_a_function",
        questions=[
            "The function in median.py is wrong. Mend the file, and try it with odd and even numbers of values."
        ],
        files={"median.py": BUGGY},
        check=runs("from median import median\nassert median([3, 1, 2]) == 2\nassert median([4, 1, 3, 2]) == 2.5"),
        tags=TAG | {"files"},
        reference=[
            code("from median import median\nprint(median([3, 1, 2]))"),
            code(
                f'open("median.py", "w").write({MENDED!r})\nimport importlib, median\nprint(importlib.reload(median).median([4, 1, 3, 2]))'
            ),
            "It is mended.",
        ],
        wrong=[
            code('text = open("median.py").read()\nopen("median.py", "w").write(text.replace("/ 2", "// 2"))'),
            "Mended.",
        ],
    ),
    Task(
        id="recovery/missing_values",
        questions=[
            "log.csv has a number and a value in each line. What is the sum of the values that there are? The number alone."
        ],
        files={"log.csv": LOG},
        check=number(3 * (sum(range(60)) - 11 - 37)),
        tags=TAG | {"files"},
        reference=[
            code('print(sum(int(line.split(",")[1]) for line in open("log.csv")))'),
            code(
                'values = [line.strip().split(",")[1] for line in open("log.csv")]\nprint(sum(int(v) for v in values if v.isdigit()))'
            ),
            "5166",
        ],
        wrong=["5310"],
    ),
    Task(
        id="recovery/too_slow",
        questions=[
            "How many pairs (a, b) with 0 < a < b and a + b = 2,000,000 have a and b both even? The number alone."
        ],
        check=number(499_999),
        limits=Limits(max_turns=6, timeout_s=240),
        tags=TAG,
        reference=[code("print(sum(1 for a in range(2, 1_000_000, 2)))"), "499999"],
        wrong=["500000"],
    ),
    Task(
        id="recovery/name_error",
        questions=[
            "Print the value of the variable budget. If it does not exist, set it to 250 first. Then answer with it alone."
        ],
        check=all_of(number(250), nothing_failed_last),
        tags=TAG,
        reference=[code("print(budget)"), code("budget = 250\nprint(budget)"), "250"],
        wrong=[code("print(budget)"), "250"],
    ),
    Task(
        id="recovery/recursion",
        questions=["Let f(0) = 1 and f(n) = (3 f(n-1) + n) mod 1,000,003. What is f(50000)? The number alone."],
        check=number(recursion(50_000)),
        tags=TAG,
        reference=[
            code("def f(n):\n    return 1 if n == 0 else (3 * f(n - 1) + n) % 1_000_003\nprint(f(50_000))"),
            code("v = 1\nfor n in range(1, 50_001):\n    v = (3 * v + n) % 1_000_003\nprint(v)", "Too deep; a loop."),
            str(recursion(50_000)),
        ],
        wrong=["1"],
    ),
    Task(
        id="recovery/an_unknown_module",
        questions=["Try to import the module quuxlib. Is it there? Answer yes or no, nothing else."],
        check=all_of(equals("no"), lambda outcome: any("quuxlib" in block.code for block in outcome.blocks)),
        tags=TAG,
        reference=[code("import quuxlib"), "No"],
        wrong=["no"],
    ),
]
