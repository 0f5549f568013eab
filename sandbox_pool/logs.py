"""Loggers of this package. They use structlog if the program has configured it, and `logging` otherwise.

A program that uses the library alone therefore gets nothing on stdout, and on stderr only warnings and errors, as
`logging` does by default. This module does not import structlog: that takes longer than the rest of the library.
"""

import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = ["Logger", "bound"]

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "exception": logging.ERROR}


class Logger:
    """Logs events with fields. With `logging`, the fields are also in the record's attribute `fields`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def info(self, event: str, **fields: Any) -> None:
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log("warning", event, fields)

    def error(self, event: str, *, exc_info: BaseException | None = None, **fields: Any) -> None:
        """Logs an error, with the traceback of `exc_info` if given."""
        self._log("error", event, fields, exc_info)

    def exception(self, event: str, **fields: Any) -> None:
        """Logs the exception that is being handled, with its traceback."""
        self._log("exception", event, fields, sys.exception())

    def _log(self, method: str, event: str, fields: dict[str, Any], exc_info: BaseException | None = None) -> None:
        structlog = sys.modules.get("structlog")
        if structlog is not None and structlog.is_configured():
            failure = {} if exc_info is None else {"exc_info": exc_info}
            getattr(structlog.get_logger(self._name), method)(event, **fields, **failure)
            return
        logger = logging.getLogger(self._name)
        if logger.isEnabledFor(LEVELS[method]):
            text = " ".join((event, *(f"{name}={value!r}" for name, value in fields.items())))
            logger.log(LEVELS[method], "%s", text, exc_info=exc_info, extra={"fields": fields})


def bound(**fields: Any) -> AbstractContextManager[Any]:
    """Adds these fields to all structlog events of the context, in this task and in the tasks that it starts."""
    structlog = sys.modules.get("structlog")
    return nullcontext() if structlog is None else structlog.contextvars.bound_contextvars(**fields)
