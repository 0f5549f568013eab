"""Reads the file CODEACT_WEBHOOKS: which URLs are told about which responses."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from codeact.errors import ConfigurationError
from codeact.public_addresses import check_url

__all__ = ["EventType", "Webhook", "read_webhooks", "wanted_by"]

MOST_ENDPOINTS = 100
FEWEST_SECRET_BYTES = 16
VARIABLE = "CODEACT_WEBHOOKS"

EventType = Literal["response.completed", "response.failed", "response.cancelled", "response.incomplete"]
EVENTS: frozenset[EventType] = frozenset(
    ("response.completed", "response.failed", "response.cancelled", "response.incomplete")
)


def _checked_secret(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith("whsec_") or len(key) < FEWEST_SECRET_BYTES:
        raise ValueError(f"a secret is 'whsec_' and at least {FEWEST_SECRET_BYTES} bytes in base64")
    return secret


class _Endpoint(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(max_length=2_000)]
    secret: Annotated[SecretStr, AfterValidator(_checked_secret)]
    events: frozenset[EventType] = EVENTS
    owners: frozenset[str] | None = None
    all_responses: bool = False
    allow_private: bool = False

    @model_validator(mode="after")
    def _check(self) -> "_Endpoint":
        check_url(self.url, allow_private=self.allow_private)
        return self


def _with_different_urls(endpoints: list[_Endpoint]) -> list[_Endpoint]:
    urls = [endpoint.url for endpoint in endpoints]
    twice = next((url for url in urls if urls.count(url) > 1), None)
    if twice is not None:
        raise ValueError(f"two endpoints have the url {twice}; make them one, or let the urls differ in their query")
    return endpoints


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    webhooks: Annotated[list[_Endpoint], Field(max_length=MOST_ENDPOINTS), AfterValidator(_with_different_urls)]


@dataclass(frozen=True, slots=True)
class Webhook:
    """One endpoint. `key` names it in the database. `owners` None: of everybody. `all_responses`: not only those in the
    background.
    """

    key: str
    url: str
    secret: bytes
    events: frozenset[EventType]
    owners: frozenset[str] | None
    all_responses: bool
    allow_private: bool


def read_webhooks(path: Path) -> tuple[Webhook, ...]:
    """Reads the endpoints. Raises `ConfigurationError`, which says what is wrong in the file, without its secrets."""
    try:
        read = _File.model_validate(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.", param=VARIABLE) from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"{path}: {where}: {first['msg']}.", param=VARIABLE) from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON: {error}.", param=VARIABLE) from None
    return tuple(map(_webhook, read.webhooks))


def _webhook(endpoint: _Endpoint) -> Webhook:
    secret = base64.b64decode(endpoint.secret.get_secret_value().removeprefix("whsec_"))
    key = hashlib.sha256(endpoint.url.encode()).hexdigest()[:16]
    return Webhook(
        key,
        endpoint.url,
        secret,
        endpoint.events,
        endpoint.owners,
        endpoint.all_responses,
        endpoint.allow_private,
    )


def wanted_by(webhooks: Iterable[Webhook], *, owner: str, event: str, background: bool) -> list[Webhook]:
    """The endpoints that want to know of this response."""
    return [
        one
        for one in webhooks
        if event in one.events and (background or one.all_responses) and (one.owners is None or owner in one.owners)
    ]
