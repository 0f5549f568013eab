"""`codeact serve`: settings enter; returns when the server has stopped."""

from codeact.settings import Settings

__all__ = ["serve"]


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM. Raises `ConfigurationError`. (The one place that looks up to `server`.)"""
    from server.serve import serve as run_server

    run_server(settings)
