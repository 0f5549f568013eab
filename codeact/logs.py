"""Configures logging: structlog writes lines from a given level on to stderr.

Only for our own programs. Inside another program, `sandbox_pool.logs` uses whatever that has configured.
"""

import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from codeact.telemetry import trace_ids

__all__ = ["configure"]


def configure(level: str, *, json: bool = False) -> None:
    """Logs lines of this level and above: as JSON if `json`, otherwise coloured on a terminal, otherwise as logfmt."""
    if json:
        renderer: Any = structlog.processors.JSONRenderer()
    else:
        at_terminal = sys.stderr.isatty()
        renderer = structlog.dev.ConsoleRenderer() if at_terminal else structlog.processors.LogfmtRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _with_trace,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def _with_trace(logger: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Adds the ids of the current span, if there is one."""
    line.update(trace_ids())
    return line
