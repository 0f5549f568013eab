"""The part of a traceback that the model reads."""

import time

import pytest

from codeact.observations.tracebacks import condensed, failing_line

RULE = "-" * 75
LIBRARY = "File /opt/kernel/lib/python3.12/site-packages/pandas/core/frame.py:{}, in DataFrame.__getitem__(self, key)"
PANDAS = f"""\
{RULE}
KeyError                                  Traceback (most recent call last)
{LIBRARY.format(10)}
      9 try:
---> 10     return self._engine.get_loc(casted_key)
     11 except KeyError as err:

KeyError: 'pricee'

The above exception was the direct cause of the following exception:

KeyError                                  Traceback (most recent call last)
Cell In[1], line 3
      1 import pandas as pd
      2 df = pd.DataFrame({{'price': [1]}})
----> 3 df['pricee']

{LIBRARY.format(20)}
     19         if self.columns.nlevels > 1:
---> 20             indexer = self.columns.get_loc(key)

{LIBRARY.format(30)}
     29         raise InvalidIndexError(key) from err
---> 30     raise KeyError(key) from err

KeyError: 'pricee'"""


def test_own_frames_and_the_last_one_of_a_library_stay() -> None:
    assert condensed(PANDAS).splitlines() == [
        "KeyError: 'pricee'",
        "which led to:",
        "Cell In[1], line 3",
        "      1 import pandas as pd",
        "      2 df = pd.DataFrame({'price': [1]})",
        "----> 3 df['pricee']",
        "[1 more frame of libraries]",
        LIBRARY.format(30),
        "---> 30     raise KeyError(key) from err",
        "KeyError: 'pricee'",
    ]


def test_repeated_frames_are_counted() -> None:
    frame = "Cell In[2], line 2, in f(n)\n      1 def f(n):\n----> 2     return f(n - 1)\n\n"
    text = f"{RULE}\nCell In[2], line 3\n----> 3 f(1)\n\n{frame * 60}RecursionError: too deep"
    assert condensed(text).count("return f(n - 1)") == 2
    assert "[58 more frames like these]\nRecursionError: too deep" in condensed(text)


def test_frames_of_two_functions_that_call_each_other_are_counted() -> None:
    pair = "Cell In[2], line 2, in f(n)\n----> 2     g(n)\n\nCell In[2], line 5, in g(n)\n----> 5     f(n)\n\n"
    text = condensed(f"{pair * 50}RecursionError: too deep")
    assert "[96 more frames like these]" in text
    assert len(text.splitlines()) == 10


def test_a_module_of_the_model_s_own_is_its_own() -> None:
    frame = "File /workspace/mine.py:2, in h()\n      1 def h():\n----> 2     raise RuntimeError(3)"
    assert condensed(f"Cell In[1], line 1\n----> 1 h()\n{frame}\nRuntimeError: 3").count("raise RuntimeError") == 1
    installed = "File ~/.local/lib/python3.12/site-packages/x.py:2, in h()\n      1 def h():\n----> 2     raise E"
    text = condensed(f"{installed}\n{installed.replace(':2', ':3')}\nE: 3")
    assert "[1 more frame of libraries]" in text


def test_frames_of_the_functions_that_reach_outside_are_left_out() -> None:
    ours = "File <codeact_functions>:7, in look_up(name)\n\nFile <codeact_calls>:43, in call(name, arguments)\n\n"
    text = condensed(f"Cell In[1], line 1\n----> 1 look_up('x')\n\n{ours}CallError: nobody")
    assert text == "Cell In[1], line 1\n----> 1 look_up('x')\nCallError: nobody"


@pytest.mark.parametrize(
    "text", ["", "ValueError: x", "  Cell In[4], line 1\n    x = (1,\n        ^\nSyntaxError: never closed"]
)
def test_another_form_stays_as_it_is(text: str) -> None:
    assert condensed(text) == text


def test_a_message_of_several_lines_stays_whole() -> None:
    text = "Cell In[1], line 1\n----> 1 f()\n\nValueError: one\n  two\nthree"
    assert condensed(text).endswith("ValueError: one\n  two\nthree")


def test_the_line_that_failed_is_the_innermost_of_the_model_s_own() -> None:
    assert failing_line(PANDAS) == "df['pricee']"
    assert failing_line("ValueError: x") == ""


@pytest.mark.parametrize(
    "unit",
    [
        "Cell In[1], line 1\n",
        "File a:1, in \n",
        "File " + "x" * 50,
        "File /" + ":1" * 50 + "\n",
        "----> 1 x\n",
        "-" * 100 + "\n",
        " " * 100 + "\n",
        "E   Traceback (most recent call last)\n",
        "During handling of the above exception\n",
    ],
)
def test_its_work_grows_with_the_length_of_the_text(unit: str) -> None:
    def cost(times: int) -> float:
        text = unit * times
        best = float("inf")
        for _ in range(3):
            begun = time.process_time()
            condensed(text)
            failing_line(text)
            best = min(best, time.process_time() - begun)
        return best

    # Once more where the machine was busy with something else meanwhile.
    assert any(cost(8_000) <= 2.5 * cost(4_000) + 0.002 for _ in range(3))
