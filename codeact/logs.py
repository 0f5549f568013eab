"""Where log lines go: a level enters; structlog writes to stderr from then on."""

import sys

import structlog

__all__ = ["configure", "configure_quietly"]


def configure(level: str) -> None:
    """Lines of this level and above: coloured at a terminal, else logfmt."""
    at_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if at_terminal else structlog.processors.LogfmtRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def configure_quietly() -> None:
    """For use inside of somebody else's program: warnings only, unless that has configured structlog itself."""
    if not structlog.is_configured():
        configure("warning")
