"""What went wrong at a model's server: a kind and the server's words enter; an error with its remedy leaves."""

from dataclasses import dataclass

from codeact.errors import (
    ContextTooLong,
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelUnauthorized,
    ModelUnreachable,
)

__all__ = ["Asked", "Failure", "one_line", "worded"]

REASON_CHARS = 400


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked: the model's name as configured, the address if one is, the variables that hold its key."""

    name: str
    address: str | None = None
    provider: str = ""
    key_names: tuple[str, ...] = ()
    has_key: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An error, whether asking again may help, and after how many seconds the server wants that."""

    error: ModelError
    retry: bool
    after_s: float | None = None


def worded(kind: type[ModelError], asked: Asked, reason: str) -> ModelError:
    """The error with what happened, in the server's words (`reason`), and what to do about it."""
    return kind(_message(kind, asked, reason))


def one_line(text: str) -> str:
    """The first line of a server's words, bounded, with a full stop; empty when there are none."""
    lines = text.strip().splitlines()
    line = lines[0].strip()[:REASON_CHARS] if lines else ""
    return line if not line or line.endswith((".", "!", "?")) else f"{line}."


def _message(kind: type[ModelError], asked: Asked, reason: str) -> str:
    where = asked.address or f"the {asked.provider} API"
    if kind is ModelNotFound:
        hint = ""
        if asked.address and not asked.address.rstrip("/").endswith("/v1"):
            hint = " The address of an OpenAI-compatible server usually ends in /v1."
        return f"{where} has no model {asked.name}: {reason}{hint}"
    if kind is ModelUnauthorized:
        keys = " or ".join(f"export {name}=…" for name in (*asked.key_names, "CODEACT_MODEL_API_KEY"))
        if asked.key_names and not asked.has_key:
            return f"{asked.name} needs a key, and none is set: {keys}"
        return f"{where} refused the key for {asked.name}: {reason} To set another one: {keys}"
    if kind is ModelUnreachable:
        return f"No answer from {where} for {asked.name}: {reason} CODEACT_MODEL_API_BASE names another address."
    if kind is ModelRateLimited:
        return f"{where} asks to slow down: {reason}"
    if kind is ContextTooLong:
        return f"The conversation is too long for {asked.name}: {reason}"
    return f"{where} did not answer for {asked.name}: {reason}"
