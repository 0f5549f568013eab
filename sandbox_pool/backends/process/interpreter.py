"""Checks that a Python interpreter can run the kernel, and finds the directories and files that it needs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sandbox_pool.backends.base import GUEST
from sandbox_pool.backends.shared.kernel_process import KERNEL
from sandbox_pool.errors import ImageUnavailable

__all__ = ["ALONE", "Interpreter"]

ALONE = ("-s", "-P")
"""Options with which a kernel imports nothing of its user's and of its directory; `-I` would ignore PYTHONHASHSEED."""
PROBE_S = 60.0
# Package directories are read-only in a sandbox. If the bytecode of a package were missing, every kernel would compile
# it again, which takes seconds, so the probe compiles it beforehand.
PROBE = """
import contextlib, json, os, py_compile, sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import cache_from_source, find_spec
def compiled(name):
    package, *rest = name.split(".")
    spec = find_spec(package)
    if spec is None or spec.cached is None:
        return True
    if not rest:
        return os.path.exists(spec.cached)
    path = os.path.join(os.path.dirname(spec.origin), *rest)
    path = path + ".py" if os.path.exists(path + ".py") else os.path.join(path, "__init__.py")
    return not os.path.exists(path) or os.path.exists(cache_from_source(path))
asked = json.loads(sys.argv[1])
def bytecode(program):
    cached = cache_from_source(program)
    with contextlib.suppress(Exception):
        if not os.path.exists(cached) or os.path.getmtime(cached) < os.path.getmtime(program):
            py_compile.compile(program, cached, doraise=True)
        return cached
for name in asked["modules"]:
    if not compiled(name):
        with contextlib.suppress(Exception):
            import_module(name)
try:
    ipykernel = version("ipykernel")
except PackageNotFoundError:
    ipykernel = "0"
prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
cached = [path for path in map(bytecode, asked["programs"]) if path is not None]
print(json.dumps({"executable": sys.executable, "prefixes": prefixes, "ipykernel": ipykernel, "cached": cached}))
"""
OLDEST_IPYKERNEL = (7, 2)
IMPORTED_BY_KERNELS = (
    *("ipykernel.kernelapp", "ipykernel.debugger", "stack_data", "matplotlib.pyplot", "cloudpickle"),
    *(
        "IPython.core.completerlib",
        "IPython.core.debugger",
        "IPython.core.logger",
        "IPython.core.oinspect",
        "IPython.extensions.storemagic",
    ),
    *("tornado.platform.asyncio", "tornado.queues", "pygments.formatters.terminal256"),
)
"""Modules whose import compiles all that a kernel imports. The server imports a part of their packages, which compiles
only that part, so each module stands here that the others need not import.
"""


class _Answer(msgspec.Struct):
    executable: str
    prefixes: list[str]
    ipykernel: str
    cached: list[str]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter. `prefixes` are the directories that it needs; `links` are the symbolic links outside of them
    that lead to it. `cached` are files with the bytecode of the kernel's programs.
    """

    executable: str
    prefixes: tuple[str, ...]
    links: tuple[str, ...]
    cached: tuple[str, ...] = ()

    @classmethod
    def probe(cls, executable: str | None, modules: Sequence[str] = ()) -> "Interpreter":
        """Examines an interpreter; None means the one that runs this process. Blocks.

        If it may write there, it also compiles the bytecode of `modules` and of the modules that a kernel imports.
        Raises `ImageUnavailable`, which names what is missing.
        """
        path = shutil.which(executable or sys.executable) or str(executable)
        request = {"modules": [*IMPORTED_BY_KERNELS, *modules], "programs": [str(GUEST / name) for name in KERNEL[1:]]}
        try:
            probe = subprocess.run(  # noqa: S603
                [path, "-I", "-c", PROBE, json.dumps(request)],
                capture_output=True,
                text=True,
                timeout=PROBE_S,
                check=True,
            )
            answer = msgspec.json.decode(probe.stdout, type=_Answer)
            ipykernel = tuple(int(part) for part in answer.ipykernel.split(".")[:2])
        except (OSError, subprocess.SubprocessError, msgspec.MsgspecError, ValueError) as error:
            raise ImageUnavailable(
                f"{path} cannot be run as a Python interpreter: {error}. Set CODEACT_SANDBOX_PYTHON."
            ) from None
        if ipykernel < OLDEST_IPYKERNEL:
            raise ImageUnavailable(f'{path} needs ipykernel 7.2 or newer: {path} -m pip install "ipykernel>=7.2"')
        prefixes = tuple(dict.fromkeys(answer.prefixes))
        links = tuple(_links(answer.executable, prefixes))
        return cls(answer.executable, prefixes, links, tuple(answer.cached))


def _links(path: str, prefixes: tuple[str, ...]) -> list[str]:
    links = []
    while os.path.islink(path):
        if not any(Path(path).is_relative_to(prefix) for prefix in prefixes):
            links.append(path)
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    return links
