"""Collects and restores what belongs to the process and not to a variable: locale, umask, signal handlers, logging.

`kernel_state_settings.py` imports it inside of a sandbox. What differs from the start of the kernel is saved, or named.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import ast
import contextlib
import decimal
import functools
import gc
import locale
import logging
import os
import signal
import socket
import sys
import threading
import time
import types
import weakref
from functools import partial
from typing import Any

from kernel_state_spaces import is_a, members  # type: ignore[import-not-found]
from kernel_values import module_of  # type: ignore[import-not-found]

__all__ = ["Process", "apply", "beside_the_code", "filled_caches", "lasting_calls", "running_beside"]

NOT_CODE = {"SIGINT", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGCHLD", "SIGTERM", "SIGHUP"}
"""Signals for which the kernel has handlers."""
LASTING = {
    "atexit": "register unregister",
    "codecs": "register register_error unregister",
    "copyreg": "pickle constructor add_extension",
    "mimetypes": "add_type init",
    "faulthandler": "enable register dump_traceback_later",
    "tracemalloc": "start",
    "resource": "setrlimit",
    "signal": "alarm setitimer set_wakeup_fd pthread_sigmask",
    "sys": "setprofile settrace setdlopenflags set_asyncgen_hooks addaudithook set_coroutine_origin_tracking_depth",
    "threading": "setprofile settrace stack_size excepthook",
    "os": "nice setpriority sched_setaffinity dup2 close mkfifo",
    "shutil": "register_archive_format register_unpack_format",
    "csv": "register_dialect unregister_dialect field_size_limit",
    "locale": "bindtextdomain textdomain",
    "gettext": "install bindtextdomain textdomain",
    "logging": "setLoggerClass setLogRecordFactory captureWarnings addLevelName",
    "logging.config": "dictConfig fileConfig",
    "multiprocessing": "set_start_method",
    "asyncio": "set_event_loop_policy",
    "urllib.request": "install_opener",
    "xml.etree.ElementTree": "register_namespace",
    "sqlite3": "register_adapter register_converter enable_callback_tracebacks",
    "sys.monitoring": "use_tool_id register_callback set_events",
    "calendar": "setfirstweekday",
    "matplotlib": "interactive",
    "matplotlib.pyplot": "ioff",
    "sklearn": "set_config",
    "sympy": "init_printing init_session",
    "torch": "set_default_dtype set_default_device set_num_threads set_printoptions use_deterministic_algorithms",
}
"""Functions that change something in the process which nothing here can read, or bring back."""
MAGICS = frozenset(
    """
    alias alias_magic autoawait autocall automagic autoreload colors config doctest_mode load_ext pprint precision pylab
    reload_ext rehashx unalias unload_ext xmode
    """.split()  # noqa: SIM905
)
"""Magics of IPython that change its own settings."""
CALLED = "what this call changed in the process is not saved"
MOST = 100


class Process:
    """Create it before the code runs."""

    def __init__(self):
        self._values = {name: read() for name, (read, _) in STATES.items()}
        self._handlers = _handlers()
        self._loggers = _loggers()

    def looks(self):
        """Yields functions that return, by name, what is not as it was, to be pickled; each with what it looks at."""
        for name, (read, _) in STATES.items():
            yield name, partial(self._changed, name, read)
        yield "loggers", self._changed_loggers

    def _changed(self, name, read):
        now = read()
        return {f"process {name}": now} if now != self._values[name] else {}

    def _changed_loggers(self):
        loggers = {}
        for name, now in _loggers().items():
            if now[:3] != self._loggers.get(name, DEFAULTS)[:3]:
                loggers[name] = now[:3]
        return {"process loggers": loggers} if loggers else {}

    def unsaved(self):
        """Yields name, type and reason of what cannot be brought back."""
        for name, handler in _handlers().items():
            if handler is not self._handlers.get(name) and callable(handler):
                yield name, "signal handler", "the handlers of signals are not saved"
        for name, now in list(_loggers().items())[:MOST]:
            if now[3] != self._loggers.get(name, DEFAULTS)[3]:
                yield f"logger {name}", "handlers of logging", "the handlers and filters of loggers are not saved"


# ---- what can be read and set ------------------------------------------------------------------------------


def _umask():
    now = os.umask(0o077)
    os.umask(now)
    return now


def _decimal():
    each = decimal.DefaultContext
    return {name: getattr(each, name) for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")}


def _set_decimal(value):
    for name, each in value.items():
        setattr(decimal.DefaultContext, name, each)


STATES: dict[str, Any] = {
    "umask": (_umask, os.umask),
    "time zone": (lambda: time.tzname, lambda _: time.tzset()),
    "locale": (lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)),
    "garbage collection": (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    "thresholds of garbage collection": (gc.get_threshold, lambda value: gc.set_threshold(*value)),
    "switch interval": (sys.getswitchinterval, sys.setswitchinterval),
    "digits of integers": (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    "timeout of sockets": (socket.getdefaulttimeout, socket.setdefaulttimeout),
    "default context of decimal": (_decimal, _set_decimal),
    "logging is disabled": (lambda: logging.root.manager.disable, logging.disable),
}
"""How to read and set each state."""


def apply(name, value):
    """Restores one of `objects`."""
    name = name.removeprefix("process ")
    if name == "loggers":
        for logger, (level, propagate, disabled) in value.items():
            each = logging.getLogger(logger)
            each.setLevel(level)
            each.propagate, each.disabled = propagate, disabled
    else:
        STATES[name][1](value)


def _handlers():
    found = {}
    for number in signal.valid_signals():
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {int(number)}"
        if name not in NOT_CODE:
            found[name] = signal.getsignal(number)
    return found


# ---- logging -----------------------------------------------------------------------------------------------


DEFAULTS: Any = (0, True, False, ())


def _loggers():
    """Level, propagation and whether it is disabled, of each logger; and what cannot be saved of it."""
    manager = logging.root.manager
    loggers: dict[str, Any] = {"root": logging.root, **dict(manager.loggerDict)}
    found = {}
    for name, each in loggers.items():
        if is_a(each, logging.Logger):
            parts = [*(one for one in each.handlers if not is_a(one, logging.NullHandler)), *each.filters]
            found[name] = (each.level, each.propagate, each.disabled, tuple(parts))
    return found


# ---- what runs beside the code, and what only its text shows -----------------------------------------------------


def beside_the_code(known_threads, known_processes):
    """Returns the threads of the code and the numbers of its processes. Call it before the fork, which has neither."""
    threads = [
        thread
        for thread in threading.enumerate()
        if all(thread is not each for each in known_threads) and str(module_of(type(thread))).partition(".")[0] != "zmq"
    ]
    return threads[:MOST], [number for number in _children() if number not in known_processes][:MOST]


def running_beside(threads, processes):
    """Yields name, type and reason of threads and processes of the code."""
    for thread in threads:
        yield f"thread {thread.name}", "thread", "threads end with their process"
    for number in processes:
        with contextlib.suppress(OSError), open(f"/proc/{number}/stat", errors="replace") as file:
            text = file.read()
            name, state = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2]
            if state not in "ZX":
                yield f"process {name}", "process", "it ends with the sandbox"


def _children():
    numbers: set[int] = set()
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children") as file:
                numbers.update(map(int, file.read().split()))
    return numbers


def lasting_calls(space, statements, resolved):
    """Yields name, type and reason of calls in the text of the blocks that have changed the process for good."""
    makers = {}
    for module, names in LASTING.items():
        owner = sys.modules.get(module)
        if owner is not None:
            for name in names.split():
                if (function := vars(owner).get(name)) is not None:
                    makers[id(function)] = f"{module}.{name}"
    found = {}
    for node, _ in statements:
        for each in ast.walk(node):
            if not isinstance(each, ast.Call):
                continue
            if (known := makers.get(id(resolved(each.func, space)))) is not None:
                found[known] = CALLED
            elif isinstance(each.func, ast.Attribute) and each.func.attr == "register":
                owner = resolved(each.func.value, space)
                if owner is not None and _is_of_library(owner):
                    found[f"{ast.unparse(each.func)[:90]}"] = CALLED
            elif isinstance(each.func, ast.Attribute) and each.func.attr == "run_line_magic" and each.args:
                magic = each.args[0].value if isinstance(each.args[0], ast.Constant) else None
                if magic in MAGICS:
                    found[f"%{magic}"] = CALLED
    yield from [(name, "call", reason) for name, reason in found.items()][:MOST]
    for name in dict.fromkeys(_finalizers()):
        yield name, "call", "finalizers are not saved"


def _is_of_library(owner):
    if type(owner) is types.FunctionType:
        return False  # A function with `singledispatch` is pickled with what is registered.
    return module_of(owner if is_a(owner, type) else type(owner)) != "__main__"


def _finalizers():
    for each in list(getattr(weakref.finalize, "_registry", ())):
        found = each.peek()
        if found is not None and "__main__" in (module_of(type(found[0])), getattr(found[1], "__module__", "")):
            yield "weakref.finalize"


def filled_caches(space):
    """Yields name, type and reason of functions whose cache has something in it."""
    kind = type(functools.lru_cache(int))
    for name, value in list(space.items()):
        held = [(name, value)]
        if is_a(value, type) and module_of(value) == "__main__":
            held = [(f"{name}.{key}", each) for key, each in list(members(value).items())]
        for path, each in held:
            if type(each) is kind and type(path) is str and each.cache_info().currsize:
                yield f"cache of {path}", "lru_cache", "it begins empty"
