"""Tasks that end in a picture."""

from codeact.evals.checks import all_of, called, contains, number, pictures
from codeact.evals.task import Task, code

__all__ = ["TASKS"]

TAG = frozenset({"plots"})
POINTS = b"x,y\n" + b"".join(b"%d,%d\n" % (x, x * x % 23) for x in range(30))


def measure(hour: int) -> float:
    """Returns the level of the river at an hour of today, 0 to 23."""
    return round(2.0 + 0.1 * hour * (1 if hour < 15 else -0.4), 2)


TASKS = [
    Task(
        id="plots/sine",
        questions=["Plot one period of the sine, and save it as sine.png too."],
        check=all_of(pictures(), lambda outcome: "sine.png" in outcome.files),
        tags=TAG,
        reference=[
            code(
                "import numpy as np, matplotlib.pyplot as plt\nx = np.linspace(0, 2 * np.pi, 200)\nplt.plot(x, np.sin(x))\n"
                "plt.savefig('sine.png')\nplt.show()"
            ),
            "Here it is.",
        ],
        wrong=["Here it is."],
    ),
    Task(
        id="plots/histogram_of_a_file",
        questions=[
            "Draw a histogram of the column y in points.csv, and tell me the most frequent value, the number at the end."
        ],
        files={"points.csv": POINTS},
        check=all_of(pictures(), number(16)),
        tags=TAG | {"files"},
        reference=[
            code(
                "import pandas as pd, matplotlib.pyplot as plt\nd = pd.read_csv('points.csv')\nd.y.hist(bins=23)\nplt.show()\n"
                "print(d.y.mode()[0])"
            ),
            "The most frequent value is 16.",
        ],
        wrong=["The most frequent value is 16."],
    ),
    Task(
        id="plots/two_pictures",
        questions=["Show two separate pictures: a bar chart of 3, 5, 2 and a pie chart of the same numbers."],
        check=pictures(2),
        tags=TAG,
        reference=[
            code(
                "import matplotlib.pyplot as plt\nplt.bar(range(3), [3, 5, 2])\nplt.show()\nplt.pie([3, 5, 2])\nplt.show()"
            ),
            "Two charts.",
        ],
        wrong=[code("import matplotlib.pyplot as plt\nplt.bar(range(3), [3, 5, 2])\nplt.show()"), "Two charts."],
    ),
    Task(
        id="plots/size",
        questions=["Save an empty chart as wide.png, at least 1200 pixels wide and 400 high."],
        check=pictures(size=(1200, 400)),
        tags=TAG | {"files"},
        reference=[
            code(
                "import matplotlib.pyplot as plt\nplt.figure(figsize=(12, 4), dpi=100)\nplt.axis()\nplt.savefig('wide.png', dpi=100)"
            ),
            "It is in wide.png.",
        ],
        wrong=[
            code(
                "import matplotlib.pyplot as plt\nplt.figure(figsize=(3, 2), dpi=100)\nplt.savefig('wide.png')\nplt.close()"
            ),
            "It is in wide.png.",
        ],
    ),
    Task(
        id="plots/measured",
        questions=["Plot the level of the river over today's 24 hours, and say at which hour it is highest."],
        tools=lambda: [measure],
        check=all_of(pictures(), called("measure", least=24), contains("14")),
        tags=TAG | {"tools"},
        reference=[
            code(
                "import matplotlib.pyplot as plt\nlevels = [measure(h) for h in range(24)]\nplt.plot(levels)\nplt.show()\n"
                "print(levels.index(max(levels)))"
            ),
            "It is highest at 14 o'clock.",
        ],
        wrong=["It is highest at 14 o'clock."],
    ),
]
