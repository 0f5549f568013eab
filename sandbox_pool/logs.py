"""Loggers of this package: structlog's where the program has configured it, else those of `logging`.

Used alone, the library therefore writes nothing to stdout, and to stderr what `logging` shows by itself:
warnings and errors. structlog is not even imported, which takes longer than the rest of the library.
"""

import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

__all__ = ["Logger", "bound"]

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "exception": logging.ERROR}


class Logger:
    """Each call has the name of an event and its fields. In `logging`, they are also the record's `fields`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def info(self, event: str, **fields: Any) -> None:
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log("warning", event, fields)

    def error(self, event: str, *, exc_info: BaseException | None = None, **fields: Any) -> None:
        """With the traceback of `exc_info`, where one is given."""
        self._log("error", event, fields, exc_info)

    def exception(self, event: str, **fields: Any) -> None:
        """An error of ours, with the exception that is being handled."""
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
    """Adds these fields to what structlog writes inside of the context, in this task and those that it starts."""
    structlog = sys.modules.get("structlog")
    return nullcontext() if structlog is None else structlog.contextvars.bound_contextvars(**fields)
