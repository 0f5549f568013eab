"""`Agent` does not change the program that uses it: environment, logging, warnings, signals and other global state."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.model_server import ModelServer

PROGRAM = """
import asyncio, builtins, faulthandler, gc, json, locale, logging, multiprocessing, os, resource, signal, socket, sys
import threading, warnings

def names(values):
    return [repr(value) for value in values]

def loggers():
    made = {name: each for name, each in logging.root.manager.loggerDict.items() if isinstance(each, logging.Logger)}
    made["root"] = logging.root
    loud = {n: [h for h in each.handlers if not isinstance(h, logging.NullHandler)] for n, each in made.items()}
    state = {n: (each.level, each.propagate, each.disabled, names(loud[n])) for n, each in made.items()}
    return {name: each for name, each in state.items() if each != (logging.NOTSET, True, False, [])}

def state():
    umask = os.umask(0o22)
    os.umask(umask)
    structlog = sys.modules.get("structlog")
    return {
        "environment": dict(os.environ),
        "directory": (os.getcwd(), umask),
        "logging": (loggers(), logging.root.manager.disable, names([logging.lastResort, logging.getLoggerClass()])),
        "structlog": structlog is not None and structlog.is_configured(),
        "warnings": (names(warnings.filters), names([warnings.showwarning])),
        "signals": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "hooks": names([sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook, sys.breakpointhook]),
        "streams": names([sys.stdin, sys.stdout, sys.stderr]),
        "sys": (sys.path[:], sys.getrecursionlimit(), sys.getswitchinterval(), sys.dont_write_bytecode),
        "asyncio": repr(type(asyncio.get_event_loop_policy())),
        "multiprocessing": multiprocessing.get_start_method(allow_none=True),
        "sockets": socket.getdefaulttimeout(),
        "collector": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), faulthandler.is_enabled()),
        "limits": [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
        "locale": locale.setlocale(locale.LC_ALL),
        "builtins": sorted(vars(builtins)),
    }

model, address, directory = sys.argv[1:]
warnings.simplefilter("default")
before = state()
from codeact import Agent
from codeact.models.scripted import ScriptedModel

TURNS = ["<execute>\\nprint('\\\\d')\\n", "Done."]
arguments = {"sandbox": "process", "data_dir": directory}
if model == "scripted":
    chosen = ScriptedModel(TURNS)
elif model == "direct":
    chosen, arguments = "scripted", arguments | {"model_api_base": address, "model_api_key": "x"}
else:
    chosen, arguments = "hosted_vllm/scripted", arguments
with Agent(chosen, **arguments) as agent:
    text = agent.run("go").output_text
after = state()
print(json.dumps({"text": text, "changed": {n: (before[n], after[n]) for n in before if before[n] != after[n]}}))
"""
OWN_OF_LITELLM = {"environment", "logging", "warnings"}
"""What litellm itself changes when anybody imports it: its own loggers, filters, and a variable of its tokenizer."""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        for text in ("<execute>\nprint('\\d')\n", "Done."):
            server.reply(text)
        yield server


def changed(model: str, server: ModelServer, directory: Path, **environment: str) -> dict[str, Any]:
    ours = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "NO_PROXY": "example.com", "CODEACT_SANDBOX_PRELOAD": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, model, server.base_url, str(directory)],
        cwd=directory,
        env=ours | environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)  # And so nothing else was written to stdout.
    assert "Done." in report["text"]
    assert done.stderr == ""
    found: dict[str, Any] = report["changed"]
    return found


@pytest.mark.parametrize("model", ["scripted", "direct"])
def test_an_agent_changes_nothing_of_its_process(model: str, server: ModelServer, tmp_path: Path) -> None:
    assert changed(model, server, tmp_path) == {}


def test_a_model_through_litellm_leaves_the_proxies_and_the_logging_of_the_process(
    server: ModelServer, tmp_path: Path
) -> None:
    found = changed("litellm", server, tmp_path, HOSTED_VLLM_API_BASE=server.base_url)
    assert found.keys() <= OWN_OF_LITELLM
    before, after = found["environment"]
    assert after.keys() - before.keys() <= {"TIKTOKEN_CACHE_DIR"}
    assert {name: after[name] for name in before} == before
    loggers, untouched = found["logging"][1][0], found["logging"][0][0]
    assert loggers.get("root") == untouched.get("root")
    assert {name for name in loggers if name not in untouched} <= {
        *("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "LiteLLM Proxy.invalid_key"),
        *("apscheduler.executors.default", "apscheduler.scheduler"),
    }
