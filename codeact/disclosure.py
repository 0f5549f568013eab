"""Decides what each kind of reader sees of an error.

The log contains everything. Operators see everything except secrets. Holders of an API key see the cause and what to
do, with addresses, paths and secrets removed. Strangers (visitors of embeds, readers of shares) see one fixed sentence
for each kind of error.
"""

import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from codeact.errors import CodeActError, ModelError, StoreError
from sandbox_pool.errors import FileError, QuotaExceeded, SandboxError

__all__ = ["PUBLIC_ERRORS", "Disclosure", "disclosed", "public_error", "read_by", "to_strangers"]

Disclosed = tuple[str, str]
"""An error's code and message for one kind of reader."""

OTHER = "The answer failed."
NO_SANDBOX = "No sandbox could be had; try again later."
NOT_STORED = "The answer could not be stored."
NO_MODEL = "The model could not answer."
PUBLIC_ERRORS = {
    "at_capacity": NO_SANDBOX,
    "compaction_frees_too_little": "The conversation is too long for the model.",
    "context_length_exceeded": "The conversation is too long for the model.",
    "disk_full": "The server takes nothing new at the moment; try again later.",
    "engine_unavailable": NO_SANDBOX,
    "image_unavailable": NO_SANDBOX,
    "model_error": NO_MODEL,
    "model_not_found": "This model is not available.",
    "insufficient_quota": NO_MODEL,
    "model_refused": NO_MODEL,
    "model_repeats": NO_MODEL,
    "model_said_nothing": NO_MODEL,
    "model_stream_broken": "The model could not be reached.",
    "model_unreadable": NO_MODEL,
    "model_timeout": "The model took too long to answer.",
    "model_unauthorized": "The model could not be used.",
    "model_unreachable": "The model could not be reached.",
    "overloaded": "The server has too much to do; try again later.",
    "rate_limit_exceeded": "Too many requests were made; try again later.",
    "response_taken_over": "The server lost this answer to another one; load the page anew to see what is stored.",
    "sandbox_error": "The sandbox failed.",
    "sandbox_gone": "The sandbox ended while it was used.",
    "sandbox_quota_exceeded": NO_SANDBOX,
    "sandbox_start_failed": NO_SANDBOX,
    "pool_closed": NO_SANDBOX,
    "sandbox_busy": NO_SANDBOX,
    "server_restarted": "The server stopped while it was answering; ask again.",
    "store_error": NOT_STORED,
    "stored_by_newer_version": "A newer version of the server stored this, and can read it again.",
    "store_unavailable": NOT_STORED,
}
"""The error codes that strangers may see, each with its complete message for them."""

MOST_CHARS = 4_000
SECRET, ADDRESS, PATH = "[secret]", "[address]", "[path]"
SHORTEST_SECRET, LONGEST_SECRET = 6, 1_000

PUBLIC_HOSTS = (
    *("ai.google.dev", "anthropic.com", "azure.com", "claude.com", "cohere.com", "deepseek.com", "github.com"),
    *("google.com", "groq.com", "huggingface.co", "litellm.ai", "microsoft.com", "mistral.ai", "openai.com"),
    *("openrouter.ai", "together.ai", "x.ai"),
)
"""Sites of model providers to which their errors link. All other addresses are removed."""

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s\"'<>()\[\]{}]*(?:\[[0-9a-fA-F:.]*\][^\s\"'<>()\[\]{}]*)?")
_USER = re.compile(r"://[^/\s@]{1,500}@")
_NAMED = re.compile(
    r"((?:api[ _-]?key|token|secret|password|passwd|pwd|credentials?|authorization)s?"
    r"[\"']?(?: (?:provided|given|used|is|was))?[\"']?\s?[:=]\s?)(?:bearer |basic )?[\"']?[^\s\"',;)}…]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer|basic) [^\s\"',;)}]{6,}", re.IGNORECASE)
_PREFIXED = re.compile(
    r"\b(?:sk|pk|rk|ak|key|org|proj|gsk|xai|hf|ghp|gho|pat|nvapi|codeact|cs|r8|pplx|fw|tgp|csk)[-_][\w*.-]{5,}"
    r"|\bAIza[\w-]{10,}|\beyJ[\w-]{8,}[\w.-]*|\bAKIA[A-Z0-9]{8,}"
)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.]*\w)")
_IPV6 = re.compile(r"\[?(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])\]?(?::\d{1,5})?")
_HOST_PORT = re.compile(r"(?<![\w./-])[a-zA-Z][a-zA-Z0-9.-]{1,252}:\d{2,5}\b")
_HOST = re.compile(r"(?<![\w./@-])[a-zA-Z0-9-]{1,63}(?:\.[a-zA-Z0-9-]{1,63}){1,9}(?![\w-])")
_PRIVATE = frozenset(
    {"cluster", "consul", "corp", "home", "internal", "intra", "intranet", "lan", "local", "localdomain"}
    | {"localhost", "private", "svc"}
)
_PATHS = re.compile(
    r"(?<![\w/:])(?:/(?:home|root|var|tmp|opt|usr|etc|srv|mnt|data|app|Users|run|workspace|proc|dev)|[A-Za-z]:\\)"
    r"[\w./\\@%+~-]*"
)
_LONG = re.compile(r"[A-Za-z0-9+/_=-]{16,}")
_PIECE = re.compile(r"[A-Za-z0-9]+")


def public_error(code: str) -> tuple[str, str]:
    """The code and message for strangers. A code that is not listed becomes `server_error`."""
    return (code, PUBLIC_ERRORS[code]) if code in PUBLIC_ERRORS else ("server_error", OTHER)


def to_strangers(error: CodeActError | SandboxError) -> Disclosed:
    """What somebody without a key sees: our own message if the error is about their request, otherwise a fixed
    sentence.
    """
    return (error.code, error.message) if _is_theirs(error) else public_error(error.code)


def _verbatim(error: CodeActError | SandboxError) -> Disclosed:
    return error.code, error.message


_reader: ContextVar[Callable[[CodeActError | SandboxError], Disclosed]] = ContextVar("reader", default=_verbatim)


def read_by(reader: Callable[[CodeActError | SandboxError], Disclosed]) -> None:
    """Sets the reader of errors in this task and in the tasks that it starts.

    Without a reader, errors are not changed: the program holds the agent itself.
    """
    _reader.set(reader)


def disclosed(error: CodeActError | SandboxError) -> Disclosed:
    """The error's code and message for the reader of the current task."""
    return _reader.get()(error)


def _is_theirs(error: CodeActError | SandboxError) -> bool:
    """Whether the error is about the client's own request and its message is ours."""
    if isinstance(error, SandboxError):
        return isinstance(error, FileError | QuotaExceeded)
    if isinstance(error, ModelError):
        return error.param is not None
    return error.status < 500 and not isinstance(error, StoreError)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What holders of keys may see.

    `secrets` and `addresses` are the server's own and are removed from every message.
    """

    secrets: tuple[str, ...] = ()
    addresses: re.Pattern[str] | None = None

    @classmethod
    def of(cls, *, secrets: Iterable[str], urls: Iterable[str], paths: Iterable[str] = ()) -> "Disclosure":
        """Makes one that removes these secrets and paths, and the user, password and hosts of each URL."""
        hidden = set(secrets)
        addresses = {*paths}
        for url in urls:
            rest = url.partition("://")[2] or url
            authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
            user, _, hosts = authority.rpartition("@")
            for part in (user.partition(":")[0], user.partition(":")[2]):
                hidden |= {part, unquote(part)}
            addresses |= {url, *(name for host in hosts.split(",") for name in (host, _name_of(host)))}
        addresses = {address for address in addresses if address and not _is_public(address)}
        pattern = "|".join(re.escape(address) for address in sorted(addresses, key=len, reverse=True))
        longest_first = sorted((one for one in hidden if len(one) >= SHORTEST_SECRET), key=len, reverse=True)
        return cls(tuple(longest_first), re.compile(rf"(?<![\w.-])(?:{pattern})(?![\w-])") if pattern else None)

    def to_holders(self, error: CodeActError | SandboxError) -> Disclosed:
        """What the holder of a key sees: the cause and what to do, scrubbed unless the message is ours."""
        return error.code, error.message if _is_theirs(error) else self.scrub(error.message)

    def to_operators(self, error: CodeActError | SandboxError) -> Disclosed:
        """What operators of the server see: everything except secrets."""
        return error.code, self.without_secrets(error.message)

    def without_secrets(self, text: str) -> str:
        """The text without passwords, keys and users in URLs; other addresses stay."""
        text = _USER.sub("://", text[: MOST_CHARS + LONGEST_SECRET])
        for secret in self.secrets:
            text = text.replace(secret, SECRET)
        for pattern, shown in ((_NAMED, rf"\1{SECRET}"), (_BEARER, rf"\1 {SECRET}"), (_PREFIXED, SECRET)):
            text = pattern.sub(shown, text)
        return text[:MOST_CHARS]

    def scrub(self, text: str) -> str:
        """The text without secrets, addresses and paths, at most 4,000 characters. Linear in its length."""
        text = text[: MOST_CHARS + LONGEST_SECRET]
        for secret in self.secrets:
            text = text.replace(secret, SECRET)
        if self.addresses is not None:
            text = self.addresses.sub(ADDRESS, text)
        text = _URL.sub(_shown_url, text)
        text = _NAMED.sub(rf"\1{SECRET}", text)
        text = _BEARER.sub(rf"\1 {SECRET}", text)
        text = _PREFIXED.sub(SECRET, text)
        text = _IPV4.sub(ADDRESS, text)
        text = _IPV6.sub(_shown_ipv6, text)
        text = _HOST_PORT.sub(ADDRESS, text)
        text = _HOST.sub(_shown_host, text)
        text = _PATHS.sub(PATH, text)
        return _LONG.sub(_shown_word, text)[:MOST_CHARS]


def _name_of(host: str) -> str:
    return host.strip("[]") if host.count(":") > 1 else host.partition(":")[0]


def _is_public(host: str) -> bool:
    return any(host == public or host.endswith(f".{public}") for public in PUBLIC_HOSTS)


def _shown_url(match: re.Match[str]) -> str:
    """Keeps a public page of a provider, without its query; replaces any other URL."""
    text = match[0].rstrip(".,;:!?")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ADDRESS
    if parts.scheme != "https" or "@" in parts.netloc or port is not None or not _is_public(host):
        return ADDRESS + match[0][len(text) :]
    return f"https://{host}{parts.path}" + match[0][len(text) :]


def _shown_ipv6(match: re.Match[str]) -> str:
    """Replaces an IPv6 address, but not `::` alone, nor times such as 12:30:45."""
    digits = match[0].strip("[]")
    is_time = re.fullmatch(r"\d{1,2}:\d{2}:\d{2}", digits) is not None
    return match[0] if is_time or not any(part for part in digits.split(":")) else ADDRESS


def _shown_host(match: re.Match[str]) -> str:
    labels = match[0].lower().split(".")
    is_name = labels[-1].isalpha() and len(labels[-1]) > 1
    if not is_name or _is_public(match[0].lower()):
        return match[0]
    return ADDRESS if len(labels) > 2 or labels[-1] in _PRIVATE else match[0]


def _shown_word(match: re.Match[str]) -> str:
    """Replaces a long run of letters and digits that contains no word: it is probably a secret."""
    for piece in _PIECE.findall(match[0]):
        letters = sum(character.isalpha() for character in piece)
        mixed = 0 < letters < len(piece)
        if (len(piece) >= 16 and mixed) or (len(piece) >= 32 and piece.lower() != piece != piece.upper()):
            return SECRET
    return match[0]
