"""Replaces the directory of the first argument by the files that stdin brings, for everybody to read.

Runs as root of a container without capabilities. Each file is a line `LENGTH PATH` in UTF-8 and its content; an empty
line ends them. Writes `ok` to stdout, or the reason why not.
"""

import os
import shutil
import sys


def main(root: str) -> str:
    os.umask(0o022)
    shutil.rmtree(root, ignore_errors=True)
    while line := sys.stdin.buffer.readline().decode().rstrip("\n"):
        length, _, name = line.partition(" ")
        content = sys.stdin.buffer.read(int(length))
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o555 if content.startswith(b"#!") else 0o444)
    return "ok"


if __name__ == "__main__":
    try:
        print(main(sys.argv[1]), flush=True)  # noqa: T201
    except OSError as error:
        print(f"{error.strerror}", flush=True)  # noqa: T201
