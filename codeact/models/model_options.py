"""Parses the options behind a configured model's name, as in `NAME;dialect=tool_call`."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from codeact.dialect.base import NAMES, Name

__all__ = ["Api", "ModelOptions", "options_of"]

Api = Literal["chat", "responses", "responses-ws"]
APIS: tuple[Api, ...] = get_args(Api)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Options of one model. `dialect` None: CODEACT_DIALECT decides. `window_tokens` None: the model's adapter decides.

    `eager` None: CODEACT_EAGER decides whether its code runs while it writes.

    `api` is the API of the model's server; `responses-ws` is the Responses API over a WebSocket. The dialect `freeform`
    exists only in the Responses API, so it sets that too.
    """

    dialect: Name | None = None
    window_tokens: int | None = None
    api: Api = "chat"
    eager: bool | None = None


def options_of(configured: str) -> tuple[str, ModelOptions]:
    """Splits a configured model into its name and options. Raises `ValueError`, which lists the options that exist."""
    name, *given = (part.strip() for part in configured.split(";"))
    options = ModelOptions()
    for option in given:
        key, _, value = (part.strip() for part in option.partition("="))
        dialect = next((each for each in NAMES if each == value), None)
        api = next((each for each in APIS if each == value), None)
        if key == "dialect" and dialect is not None:
            brings_api = dialect == "freeform" and options.api == "chat"
            options = replace(options, dialect=dialect, api="responses" if brings_api else options.api)
        elif key == "api" and api is not None and not (options.dialect == "freeform" and api == "chat"):
            options = replace(options, api=api)
        elif key == "eager" and value in ("on", "off"):
            options = replace(options, eager=value == "on")
        elif key == "window" and value.isascii() and value.isdecimal() and 512 <= int(value[:12]) <= 10**8:
            options = replace(options, window_tokens=int(value[:12]))
        else:
            raise ValueError(
                f"'{option}' after the model '{name}' is not known: ;dialect= takes {' or '.join(NAMES)}, ;api= takes"
                f" {' or '.join(APIS)} (freeform needs responses), ;eager= on or off, ;window= the number of tokens"
                " that the model takes, 512 or more"
            )
    return name, options
