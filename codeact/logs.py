"""Configures logging: structlog writes lines from a given level on to stderr.

Only for our own programs. Inside another program, `sandbox_pool.logs` uses whatever that has configured.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

from codeact.telemetry import trace_ids

__all__ = ["configure"]


def configure(level: str, *, json: bool = False) -> None:
    """Logs lines of this level and above: as JSON if `json`, otherwise coloured on a terminal, otherwise as logfmt.

    Warnings and errors that libraries log by `logging`, and Python's own warnings, become lines of the same form.
    """
    if json:
        renderer: Any = structlog.processors.JSONRenderer()
    else:
        at_terminal = sys.stderr.isatty()
        renderer = structlog.dev.ConsoleRenderer() if at_terminal else structlog.processors.LogfmtRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _with_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)


class _Lines(structlog.WriteLogger):
    """Writes lines to a stream. A line that cannot be written is dropped.

    The reader of a pipe may end, a disk may be full, a terminal may be closed: none of this must end a request or a
    background task.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)

    def msg(self, message: str) -> None:
        """Writes one line, or nothing if the stream is closed or broken."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _with_trace(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Adds the ids of the current span, if there is one."""
    line.update(trace_ids())
    return line
