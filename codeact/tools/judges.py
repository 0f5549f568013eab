"""Loads the operator's judge of approvals by its name."""

from importlib import import_module

from codeact.errors import ConfigurationError
from codeact.tools.approval import Judge

__all__ = ["load_judge"]


def load_judge(name: str) -> Judge:
    """Imports `module:function`. Raises `ConfigurationError`, which says what is wrong."""
    module, _, attribute = name.partition(":")
    param = "CODEACT_APPROVAL_JUDGE"
    if not module or not attribute:
        raise ConfigurationError(f"{param} is `module:function`, not '{name}'.", param=param)
    try:
        judge = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{param} cannot be imported: {error}.", param=param) from None
    if not callable(judge):
        raise ConfigurationError(f"{param}: '{name}' is no function.", param=param)
    found: Judge = judge
    return found
