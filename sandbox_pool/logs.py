"""A module's name enters, its logger leaves: structlog where the program has configured it, else `logging`.

Used alone, the library therefore writes nothing to stdout, and to stderr what `logging` shows by itself:
warnings and errors. structlog is not even imported, which takes longer than the rest of the library.
"""

import logging
import sys
from typing import Any

__all__ = ["Logger"]

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "exception": logging.ERROR}


class Logger:
    """Each call has the name of an event and its fields. In `logging`, they are also the record's `fields`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def info(self, event: str, **fields: Any) -> None:
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._log("warning", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """An error of ours, with the exception that is being handled."""
        self._log("exception", event, fields)

    def _log(self, method: str, event: str, fields: dict[str, Any]) -> None:
        structlog = sys.modules.get("structlog")
        if structlog is not None and structlog.is_configured():
            getattr(structlog.get_logger(self._name), method)(event, **fields)
            return
        logger = logging.getLogger(self._name)
        if logger.isEnabledFor(LEVELS[method]):
            text = " ".join((event, *(f"{name}={value!r}" for name, value in fields.items())))
            logger.log(LEVELS[method], "%s", text, exc_info=method == "exception", extra={"fields": fields})
