"""Converts an agent's argument `model` into a `Model`."""

from collections.abc import Callable
from typing import Any

from codeact.errors import ConfigurationError
from codeact.model import Model
from codeact.models.function import FunctionModel

__all__ = ["model_of"]


def model_of(model: Model | Callable[..., Any]) -> Model:
    """Returns a `Model` for a `Model` or a function of the messages. Raises `ConfigurationError` for anything else."""
    if hasattr(model, "stream"):
        return model  # type: ignore[return-value]  # It has the method of a `Model`.
    if callable(model):
        return FunctionModel(model)
    raise ConfigurationError(
        f"model={model!r} is no model: give a name, a `codeact.model.Model`, or a function of the messages.",
        param="model",
    )
