"""Tasks with long input, and conversations that outgrow the model's window."""

import random

from codeact.evals.checks import all_of, equals, json_equals, number
from codeact.evals.task import Limits, Task, code

__all__ = ["TASKS"]

TAG = frozenset({"long"})
_random = random.Random(5)  # noqa: S311  # The same text in every run.
WORDS = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine"]
PROSE = " ".join(_random.choice(WORDS) for _ in range(4_000))
BIG = "".join(f"{n:06d} {_random.choice(WORDS)} {_random.randint(1, 999)}\n" for n in range(60_000))
NEEDLE = BIG.splitlines()[41_337]
_TURNS = 14


def _of(word: str) -> int:
    return sum(int(line.split()[2]) for line in BIG.splitlines() if line.split()[1] == word)


def _conversation() -> tuple[list[str], list[str]]:
    """Questions that fill a small window with output, and what solves them."""
    questions, said = ["Let secret be the number 4711. Print the numbers 1 to 400, one a line."], []
    said += [code("secret = 4711\nprint(*range(1, 401), sep='\\n')"), "Done."]
    for turn in range(_TURNS):
        questions.append(f"Print the squares of the numbers {turn * 100} to {turn * 100 + 399}, one a line.")
        said += [code(f"print(*(n * n for n in range({turn * 100}, {turn * 100 + 400})), sep='\\n')"), "Done."]
    questions.append("What is secret times two? The number alone.")
    said += [code("print(secret * 2)"), "9422"]
    return questions, said


QUESTIONS, SAID = _conversation()

TASKS = [
    Task(
        id="long/count_in_the_question",
        questions=[f"How often does 'larch' stand in this text? Use code. The number alone.\n\n{PROSE}"],
        check=number(PROSE.split().count("larch")),
        tags=TAG,
        reference=[
            code(f"print({PROSE!r}.split().count('larch'))"),
            str(PROSE.split().count("larch")),
        ],
        wrong=["1"],
    ),
    Task(
        id="long/find_a_line",
        questions=["What does the line that begins with 041337 in big.txt say after its number? That alone."],
        files={"big.txt": BIG.encode()},
        check=equals(NEEDLE.partition(" ")[2]),
        tags=TAG | {"files"},
        reference=[
            code("print(next(l for l in open('big.txt') if l.startswith('041337')).partition(' ')[2])"),
            NEEDLE.partition(" ")[2],
        ],
        wrong=["oak 1"],
    ),
    Task(
        id="long/sum_by_word",
        questions=[
            "In big.txt each line has a number, a word and a value. What are the sums of the values of oak and elm? A JSON object."
        ],
        files={"big.txt": BIG.encode()},
        check=json_equals({"oak": _of("oak"), "elm": _of("elm")}),
        tags=TAG | {"files"},
        reference=[
            code(
                "import collections, json\ntotal = collections.Counter()\nfor l in open('big.txt'):\n    _, w, v = l.split()\n"
                "    total[w] += int(v)\nprint(json.dumps({w: total[w] for w in ('oak', 'elm')}))"
            ),
            f'{{"oak": {_of("oak")}, "elm": {_of("elm")}}}',
        ],
        wrong=['{"oak": 1, "elm": 1}'],
    ),
    Task(
        id="long/too_much_output",
        questions=["Print all of big.txt, then say how many lines it has, the number at the end."],
        files={"big.txt": BIG.encode()},
        check=all_of(number(60_000), lambda outcome: len(outcome.blocks) >= 1),
        tags=TAG | {"files"},
        reference=[
            code("text = open('big.txt').read()\nprint(text)"),
            code("print(text.count('\\n'))", "That was cut. I count."),
            "It has 60000 lines.",
        ],
        wrong=["It has 60000 lines."],
    ),
    Task(
        id="long/beyond_the_window",
        questions=QUESTIONS,
        check=number(9422),
        limits=Limits(timeout_s=600),
        tags=TAG | {"state"},
        window_tokens=8_000,
        reference=SAID,
        wrong=[*SAID[:-2], "4711"],
    ),
    Task(
        id="long/many_small_steps",
        questions=[f"Let n be {start}." if not start else "Add 7 to n." for start in range(12)]
        + ["What is n? The number alone."],
        check=number(77),
        tags=TAG | {"state"},
        reference=[code("n = 0"), "Done.", *([code("n += 7"), "Done."] * 11), code("print(n)"), "77"],
        wrong=[code("n = 0"), "Done.", *([code("n += 7"), "Done."] * 11), "84"],
    ),
]
