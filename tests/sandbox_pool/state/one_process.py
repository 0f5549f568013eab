"""Runs random programs (programs.py) as the kernel's guest code saves and restores them, without sandboxes.

    python one_process.py GUEST FIRST LAST

GUEST is the folder with the guest code, FIRST and LAST are the seeds. Each block runs in a fork of this process: as a
whole program in one, and with a checkpoint and a restoration after every block. It prints a line for each difference.
"""

import contextlib
import contextvars
import hashlib
import io
import json
import linecache
import os
import random
import sys
import tempfile
import types
import warnings
from collections.abc import Callable
from typing import Any

sys.path[:0] = [sys.argv[1], os.path.dirname(os.path.abspath(__file__))]

import kernel_state_blocks  # type: ignore[import-not-found]  # noqa: E402
import kernel_state_load  # type: ignore[import-not-found]  # noqa: E402
import kernel_state_pages  # type: ignore[import-not-found]  # noqa: E402
import kernel_state_save  # type: ignore[import-not-found]  # noqa: E402
import kernel_state_settings  # type: ignore[import-not-found]  # noqa: E402
import numpy.random  # noqa: E402, F401
import pandas  # noqa: E402, F401
from programs import program  # type: ignore[import-not-found]  # noqa: E402

BLOCKS, STATEMENTS = 8, 25
LIMITS = {"group_bytes": 2 * 10**9, "total_bytes": 4 * 10**9, "group_s": 20.0, "deadline_s": 60.0}


def kernel(workspace: str) -> Any:
    """What the guest code needs of a kernel, in a fresh namespace."""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    shell = types.SimpleNamespace(user_ns=vars(main), user_ns_hidden=dict(vars(main)), execution_count=1)
    return types.SimpleNamespace(
        shell=shell,
        workspace=workspace,
        context_of_code=contextvars.copy_context(),
        change_context=lambda function, *arguments: function(*arguments),
        ran=kernel_state_blocks.Blocks(),
    )


def printed(running: Any, block: str) -> str:
    file = f"<ipykernel_ {hash(block)}>"
    linecache.cache[file] = (len(block), None, block.splitlines(keepends=True), file)
    run = running.ran.add(file)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            exec(compile(block, file, "exec"), running.shell.user_ns)
            run.is_whole = True
        except Exception as error:
            print(type(error).__name__)
    return output.getvalue()


def in_fork(function: Callable[[int], None]) -> bytes:
    """What the function, in a fork, writes into the pipe that it gets."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            function(writing)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        written = pipe.read()
    os.waitpid(child, 0)
    return written


def of_whole(blocks: list[str]) -> list[str]:
    def run(pipe: int) -> None:
        with tempfile.TemporaryDirectory() as workspace:
            os.chdir(workspace)
            running = kernel(workspace)
            text = json.dumps([printed(running, block) for block in blocks])
            open(pipe, "w").write(text)  # noqa: SIM115

    return list(json.loads(in_fork(run)))


def of_restored(blocks: list[str]) -> tuple[list[str], list[Any]]:
    """What each block prints, and what was not saved or did not come back."""
    parts: dict[str, bytes] = {}
    manifest: Any = None
    found, unsaved = [], []
    for block in blocks:

        def run(pipe: int, block: str = block, manifest: Any = manifest) -> None:
            with tempfile.TemporaryDirectory() as workspace:
                os.chdir(workspace)
                settings, running = kernel_state_settings.Settings(), kernel(workspace)
                missing = restore(running, manifest, parts, settings) if manifest is not None else []
                head = json.dumps([printed(running, block), missing]).encode()
                os.write(pipe, len(head).to_bytes(8, "big") + head)
                state, pages = random.getstate(), kernel_state_pages.Pages()
                kernel_state_save.save(running, b"", LIMITS, settings, state, dict, pipe, pages, ((), ()))

        written = in_fork(run)
        end = 8 + int.from_bytes(written[:8], "big")
        output, missing = json.loads(written[8:end])
        found.append(output)
        unsaved += missing
        manifest = manifest_of(written[end:], parts)
    return found, unsaved


def restore(running: Any, manifest: Any, parts: dict[str, bytes], settings: Any) -> list[Any]:
    restoration = kernel_state_load.Restoration(running, manifest, settings)
    results = [restoration.begin()]
    blobs = [file["content"] for file in manifest["files"]]
    blobs += [blob for unit in manifest["units"] for blob in (unit["stream"], *unit.get("buffers", ()))]
    results += [restoration.put([parts[part] for part in blob["parts"]], lost=False) for blob in blobs]
    results.append(restoration.finish())
    return [each for result in results for each in result["unsaved"]]


def manifest_of(written: bytes, parts: dict[str, bytes]) -> Any:
    """Reads the frames of a checkpoint."""
    at, text = 0, b""
    while (kind := written[at : at + 1]) != b"Z":
        end = at + 5 + int.from_bytes(written[at + 1 : at + 5], "big")
        payload, at = written[at + 5 : end], end
        if kind == b"P":
            parts[hashlib.sha256(payload).hexdigest()] = payload
        else:
            text += payload
    return json.loads(text)


def main() -> None:
    warnings.simplefilter("ignore")
    for seed in range(int(sys.argv[2]), int(sys.argv[3])):
        blocks = program(seed, blocks=BLOCKS, statements=STATEMENTS)
        expected = of_whole(blocks)
        found, unsaved = of_restored(blocks)
        if unsaved or found != expected:
            print(seed, unsaved, [each for each in zip(expected, found, strict=True) if each[0] != each[1]][:1])


if __name__ == "__main__":
    main()
