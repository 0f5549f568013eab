"""`codeact serve`: runs the server until it is stopped."""

from codeact.errors import ConfigurationError
from codeact.imports import without_garbage_collection
from codeact.models.discovery import needs_litellm
from codeact.models.litellm.loading import own_process
from codeact.settings import Settings
from sandbox_pool.extras import install_command, missing_extras

__all__ = ["serve"]


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM. (This is the only place in `codeact` that imports `codeact.server`.)

    Raises `ConfigurationError`, for example if packages are missing that a server with these settings needs.
    """
    _check_installed(settings)
    with without_garbage_collection():
        from codeact.server.serve import serve as run_server

    own_process()
    run_server(settings)


def _check_installed(settings: Settings) -> None:
    needed = {
        "server": True,
        "embedded": settings.mongodb_uri is None,
        "docker": settings.sandbox == "docker",
        "litellm": needs_litellm(settings),
        "mcp": settings.mcp_config is not None,
        "login": settings.oidc_issuer is not None,
    }
    lacking = missing_extras(*(extra for extra, is_needed in needed.items() if is_needed))
    if not lacking:
        return
    text = f"A server with these settings needs packages that are not installed: {install_command(*lacking)}."
    if "embedded" in lacking:
        text += " A MongoDB of yours, named in CODEACT_MONGODB_URI, takes the place of 'codeact[embedded]'."
    raise ConfigurationError(text)
