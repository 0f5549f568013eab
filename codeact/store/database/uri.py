"""Parses MongoDB URIs far enough to keep their secrets out of logs and error messages."""

import re
from pathlib import Path
from urllib.parse import quote, unquote

__all__ = ["describe", "is_readable", "redact", "socket_uri"]

_SHAPE = re.compile(r"(?P<scheme>mongodb(?:\+srv)?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_HOST = re.compile(r"%2F[^:]+|(?:\[[0-9a-f:.%]+\]|[^:%\[\]]+)(?::[0-9]+)?", re.IGNORECASE)
_SECRET_OPTION = re.compile(r"[?&;][^=&;]*(?:password|properties|token)[^=&;]*=([^&;]*)", re.IGNORECASE)


def socket_uri(socket: Path) -> str:
    """The URI of a mongod on a unix socket; every write waits for the journal."""
    return f"mongodb://{quote(str(socket), safe='')}/?directConnection=true&journal=true"


def is_readable(uri: str) -> bool:
    """Whether the parts of the URI can be told apart.

    They cannot if, for example, an `@`, `/`, `?` or `#` in a password was not percent-encoded. Nobody can tell then
    where the secret ends, so no part of such a URI may be shown.
    """
    shape = _SHAPE.fullmatch(uri)
    if shape is None:
        return False
    user, at, hosts = shape["authority"].rpartition("@")
    if "@" in user or (not at and "@" in shape["rest"]):
        return False
    return all(_HOST.fullmatch(host) for host in hosts.split(","))


def describe(uri: str) -> str:
    """The hosts and the database, or the socket's path: for logs and the terminal, without users, passwords and
    options.
    """
    shape = _SHAPE.fullmatch(uri)
    if shape is None or not is_readable(uri):
        return "an address that cannot be read"
    hosts = shape["authority"].rpartition("@")[2]
    if hosts.lower().startswith("%2f"):
        return unquote(hosts)
    return f"{shape['scheme']}://{hosts}{shape['rest'].partition('?')[0].rstrip('/')}"


def redact(text: str, uri: str) -> str:
    """`text` with the password and the secret options of `uri` replaced by `***`."""
    shape = _SHAPE.fullmatch(uri)
    if shape is None:
        return text
    secrets = {shape["authority"].rpartition("@")[0].partition(":")[2]}
    for value in _SECRET_OPTION.findall(shape["rest"]):
        secrets |= {value, *re.split(r"[,:]", unquote(value))}
    secrets |= {unquote(secret) for secret in secrets}
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
