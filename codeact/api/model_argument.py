"""Makes a `Model` of what a program gives as one: a `Model`, or a function that takes the messages."""

from collections.abc import Callable
from typing import Any

from codeact.errors import ConfigurationError
from codeact.model import Model
from codeact.models.function import FunctionModel

__all__ = ["model_of"]


def model_of(given: Model | Callable[..., Any]) -> Model:
    """Raises `ConfigurationError` for what is neither."""
    if hasattr(given, "stream"):
        return given  # type: ignore[return-value]  # A `Model`, by what it has.
    if callable(given):
        return FunctionModel(given)
    raise ConfigurationError(
        f"model={given!r} is no model: give a name, a `codeact.model.Model`, or a function of the messages.",
        param="model",
    )
