"""Runs shell commands for code in the kernel, and prints their output while they run.

The kernel gets the text of this module together with the functions. `call` tells the server where a command begins and
ends; the output between is the command's.
"""

import codecs
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

DRAIN_S = 0.2
"""How long output is read after a command has ended, in case a process that it left still writes."""


class Result(dict[str, Any]):
    """`stdout`, `stderr` and `exit_code` of one command; `exit_code` is None if its time was over."""


def shell(
    call: Callable[[str, dict[str, Any]], Any],
    commands: Any,
    timeout_ms: int | None,
    max_output_length: int | None,
) -> list[Result]:
    """Runs the commands one after the other, and returns their results."""
    listed = [commands] if isinstance(commands, str) else [str(command) for command in commands]
    call("shell", {"commands": listed, "timeout_ms": timeout_ms, "max_output_length": max_output_length})
    try:
        results = []
        for command in listed:
            result = _run(command, timeout_ms, max_output_length)
            results.append(result)
            sys.stdout.flush()
            sys.stderr.flush()
            call("shell", {"exit_code": result["exit_code"]})
    finally:
        call("shell", {"ended": True})
    return results


def _run(command: str, timeout_ms: int | None, max_output_length: int | None) -> Result:
    deadline = time.monotonic() + timeout_ms / 1000 if timeout_ms is not None else None
    left = max_output_length if max_output_length is not None else sys.maxsize
    texts = {"stdout": "", "stderr": ""}
    # Code in a sandbox may run any program there.
    process = subprocess.Popen(  # noqa: S602
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    late = False
    try:
        with selectors.DefaultSelector() as open_pipes:
            for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
                assert pipe is not None
                decoder = codecs.getincrementaldecoder("utf-8")("replace")
                open_pipes.register(pipe, selectors.EVENT_READ, (name, decoder))
            ended_at = None
            while open_pipes.get_map():
                now = time.monotonic()
                if process.poll() is not None:
                    ended_at = ended_at or now
                    if now > ended_at + DRAIN_S:
                        break
                elif deadline is not None and now > deadline:
                    late = True
                    break
                for key, _ in open_pipes.select(0.05):
                    name, decoder = key.data
                    data = os.read(key.fd, 65536)
                    if not data:
                        open_pipes.unregister(key.fileobj)
                    text = decoder.decode(data, not data)[:left]
                    left -= len(text)
                    texts[name] += text
                    print(text, end="", file=getattr(sys, name), flush=True)
        if not late:
            process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        late = True
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return Result(**texts, exit_code=None if late else process.returncode)
