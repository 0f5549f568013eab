"""The registry of served models: finds a model by the name in a request."""

from collections.abc import Mapping, Sequence

from codeact.errors import ModelNotFound
from codeact.model import Model

__all__ = ["ANY", "ModelRegistry"]

ANY = "codeact"
"""The name under which every server offers its default model."""
SHOWN_NAMES = 20


class ModelRegistry:
    """The served models, at least one; the first is the default. Of models with equal names, the first is used."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models: dict[str, Model] = {}
        for model in models:
            self._models.setdefault(model.name, model)
        self._aliases: dict[str, str] = {ANY: ""}

    @property
    def models(self) -> list[Model]:
        return list(self._models.values())

    def put_first(self, models: Sequence[Model]) -> None:
        """Adds models in front, so that the first of them is the new default. The other models stay available."""
        new = {model.name: model for model in reversed(models)}
        self._models = dict(reversed(new.items())) | {n: m for n, m in self._models.items() if n not in new}

    def add_aliases(self, aliases: Mapping[str, str]) -> None:
        """Adds aliases of models; an empty model name means the default. A model's own name takes precedence."""
        self._aliases |= aliases

    @property
    def aliases(self) -> list[str]:
        """The aliases of models. The first one is `codeact`, for the default model."""
        return [alias for alias in self._aliases if alias not in self._models]

    @property
    def names(self) -> list[str]:
        return list(self._models)

    @property
    def default(self) -> Model:
        return next(iter(self._models.values()))

    @property
    def summary(self) -> str:
        """The default model and the number of others, for people."""
        others = len(self._models) - 1
        return self.default.name + (f" and {others} more" if others else "")

    def get(self, name: str | None) -> Model:
        """Finds a model by name; no name means the default.

        Raises `ModelNotFound`, which lists the available models.
        """
        if name is not None and name not in self._models:
            name = self._aliases.get(name, name)
        if not name:
            return self.default
        if name not in self._models:
            listed = ", ".join(f"'{known}'" for known in self.names[:SHOWN_NAMES])
            more = f" and {len(self._models) - SHOWN_NAMES} more" if len(self._models) > SHOWN_NAMES else ""
            raise ModelNotFound(
                f"The model '{name[:200]}' is not served here. Ask for {listed}{more}, or leave 'model' out for the"
                " first of them; CODEACT_MODELS says which are served.",
                param="model",
            )
        return self._models[name]
