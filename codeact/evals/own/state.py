"""Tasks over several questions: variables, functions and files of earlier ones are still there, and are used."""

from codeact.evals.checks import all_of, contains, equals, json_equals, lacks, number
from codeact.evals.outcome import Outcome
from codeact.evals.task import Check, Task, code

__all__ = ["TASKS"]

TAG = frozenset({"state"})


def blocks(least: int) -> Check:
    """At least so many blocks of code ran."""

    def check(outcome: Outcome) -> bool:
        return len(outcome.blocks) >= least

    return check


def never_again(words: str) -> Check:
    """No block after the first has these words: the state of the kernel was used instead."""

    def check(outcome: Outcome) -> bool:
        return all(words not in block.code for block in outcome.blocks[1:])

    return check


TASKS = [
    Task(
        id="state/running_total",
        questions=["Let total be 17.", "Add 25 to total.", "Multiply total by 3 and tell me its value alone."],
        check=all_of(number(126), blocks(3)),
        tags=TAG,
        reference=[
            *(code("total = 17"), "Done."),
            *(code("total += 25"), "Done."),
            *(code("total *= 3\nprint(total)"), "126"),
        ],
        wrong=[code("total = 17"), "Done.", code("total += 25"), "Done.", code("print(total + 3)"), "45"],
    ),
    Task(
        id="state/random_but_kept",
        questions=[
            "With random.Random(7), draw 50 whole numbers from 1 to 1000 into a list named numbers. Do not print them.",
            "How many of the numbers are even? The count alone.",
            "And what is the largest of them? The number alone.",
        ],
        check=all_of(number(17, answer=1), number(1000, answer=2), never_again("Random(")),
        tags=TAG,
        reference=[
            *(code("import random\nnumbers = [(r := random.Random(7)).randint(1, 1000) for _ in range(50)]"), "Done."),
            *(code("print(sum(n % 2 == 0 for n in numbers))"), "17"),
            *(code("print(max(numbers))"), "1000"),
        ],
        wrong=["Done.", "25", "1000"],
    ),
    Task(
        id="state/function_defined_before",
        questions=[
            "Define a function collatz(n) that returns how many steps n takes to reach 1.",
            "Which number below 1000 takes the most steps? The number alone.",
        ],
        check=all_of(number(871), never_again("def collatz")),
        tags=TAG,
        reference=[
            code(
                "def collatz(n):\n    steps = 0\n    while n != 1:\n        n = 3 * n + 1 if n % 2 else n // 2\n"
                "        steps += 1\n    return steps"
            ),
            "It is defined.",
            *(code("print(max(range(1, 1000), key=collatz))"), "871"),
        ],
        wrong=["It is defined.", "999"],
    ),
    Task(
        id="state/shopping_list",
        questions=[
            "Start a list named shopping: milk, bread, eggs.",
            "Add coffee, and remove bread.",
            "Put it in alphabetical order and show it as a JSON list, nothing else.",
        ],
        check=json_equals(["coffee", "eggs", "milk"]),
        tags=TAG,
        reference=[
            *(code('shopping = ["milk", "bread", "eggs"]'), "Done."),
            *(code('shopping.append("coffee"); shopping.remove("bread")'), "Done."),
            *(code("import json\nprint(json.dumps(sorted(shopping)))"), '["coffee", "eggs", "milk"]'),
        ],
        wrong=["Done.", "Done.", '["bread", "coffee", "eggs", "milk"]'],
    ),
    Task(
        id="state/file_of_an_earlier_answer",
        questions=[
            "Write the squares of 1 to 20 into squares.txt, one a line.",
            "What is the sum of the numbers in that file? Read it. The number alone.",
        ],
        check=all_of(number(2870), lambda outcome: len(outcome.text("squares.txt").split()) == 20),
        tags=TAG | {"files"},
        reference=[
            *(code('open("squares.txt", "w").write("\\n".join(str(n * n) for n in range(1, 21)))'), "Done."),
            *(code('print(sum(map(int, open("squares.txt"))))'), "2870"),
        ],
        wrong=["Done.", "2870"],
    ),
    Task(
        id="state/correction",
        questions=[
            "A box is 3 m by 4 m by 5 m. What is its volume in cubic metres? The number alone.",
            "Sorry, it is 6 m high, not 5. And now? The number alone.",
        ],
        check=all_of(number(60, answer=0), number(72, answer=1)),
        tags=TAG,
        reference=[
            *(code("a, b, h = 3, 4, 5\nprint(a * b * h)"), "60"),
            *(code("h = 6\nprint(a * b * h)"), "72"),
        ],
        wrong=["60", "78"],
    ),
    Task(
        id="state/what_is_there",
        questions=[
            "Let alpha be 3 and beta be the list [1, 2].",
            "Which of the names alpha, beta and gamma have a value in your kernel? Try it. Names alone, with commas.",
        ],
        check=all_of(contains("alpha", "beta"), lacks("gamma")),
        tags=TAG,
        reference=[
            *(code("alpha, beta = 3, [1, 2]"), "Done."),
            *(code('print([n for n in ("alpha", "beta", "gamma") if n in globals()])'), "alpha, beta"),
        ],
        wrong=["Done.", "alpha, beta, gamma"],
    ),
    Task(
        id="state/word_game",
        questions=[
            "Reverse the word 'stressed' and keep it as word.",
            "Replace each 's' in word by 'z'.",
            "Say word in capital letters, nothing else.",
        ],
        check=equals("DEZZERTZ"),
        tags=TAG,
        reference=[
            *(code('word = "stressed"[::-1]'), "Done."),
            *(code('word = word.replace("s", "z")'), "Done."),
            *(code("print(word.upper())"), "DEZZERTZ"),
        ],
        wrong=["Done.", "Done.", "DESSERTS"],
    ),
]
