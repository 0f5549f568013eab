# Says more than anybody can read.
import sys

from attempts import given
from IPython.display import display


def endless_lines():
    while True:
        print("x" * 200)


def endless_line():
    while True:
        sys.stdout.write("x" * 1_000_000)


def tiny_displays():
    while True:
        display(1)


def large_displays():
    while True:
        display({"text/html": "x" * 20_000_000}, raw=True)


def one_huge_display():
    display({"text/plain": "x" * 200_000_000}, raw=True)


def updates():
    handle = display(0, display_id=True)
    while True:
        handle.update("x" * 10_000)


def clears():
    from IPython.display import clear_output

    while True:
        clear_output()


def subprocess_output():
    import subprocess

    subprocess.run(["sh", "-c", "cat /dev/zero | tr '\\0' y"])


globals()[given["what"]]()
