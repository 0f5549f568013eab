"""What the code of one sandbox may reach, and where its placeholders become secrets. Does no I/O."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Refused", "Rules", "Secret", "host_and_port"]

Header = tuple[bytes, bytes]
FILLED_BYTES = 131_072
"""Limit for the headers of one request with its secrets: each may have 8 KB, and be named any number of times."""


class Refused(Exception):
    """The proxy does not do this. The message is for the code, and says what would be allowed."""


@dataclass(frozen=True, slots=True)
class Secret:
    """`placeholder` becomes `value` in headers of requests to `domain`."""

    domain: str
    placeholder: str
    value: str


@dataclass(frozen=True, slots=True)
class Rules:
    """`domains` are names of hosts in lower case; one that begins with a dot includes its subdomains."""

    domains: tuple[str, ...]
    secrets: tuple[Secret, ...] = ()
    private: bool = False
    plain_port: int = 80
    tls_port: int = 443

    def check(self, host: str, port: int, *, tls: bool) -> None:
        """Raises `Refused` if the code may not connect to this host and port."""
        if not any(_matches(host, domain) for domain in self.domains):
            raise Refused(f"{host[:255]} is not allowed. Allowed here: {', '.join(self.domains)[:1000]}.")
        wanted = self.tls_port if tls else self.plain_port
        if port != wanted:
            raise Refused(f"Only port {wanted} can be reached {'by CONNECT' if tls else 'without CONNECT'}.")

    def secrets_of(self, host: str) -> tuple[Secret, ...]:
        return tuple(secret for secret in self.secrets if _matches(host, secret.domain))

    def filled(self, headers: Iterable[Header], host: str, *, tls: bool) -> list[Header]:
        """The headers with the secrets of this host in place of their placeholders, also in `Basic` credentials.

        Raises `Refused` if a placeholder would be sent to another host or without encryption: it is of no use there.
        Also if the headers are longer than servers take.
        """
        own = self.secrets_of(host) if tls else ()
        filled, size_bytes = [], 0
        for name, value in headers:
            filled.append((name, self._filled(value, own, host)))
            size_bytes += len(name) + len(filled[-1][1])
            if size_bytes > FILLED_BYTES:
                raise Refused(f"With their secrets, the headers of the request have over {FILLED_BYTES:,} bytes.")
        return filled

    def _filled(self, value: bytes, own: Sequence[Secret], host: str) -> bytes:
        kind, _, encoded = value.partition(b" ")
        if kind.lower() == b"basic":
            try:
                inner = base64.b64decode(encoded.strip(), validate=True)
            except (binascii.Error, ValueError):
                return value
            return kind + b" " + base64.b64encode(self._replaced(inner, own, host))
        return self._replaced(value, own, host)

    def _replaced(self, value: bytes, own: Sequence[Secret], host: str) -> bytes:
        for secret in self.secrets:
            if secret.placeholder.encode() not in value:
                continue
            if secret not in own:
                raise Refused(f"This secret goes to {secret.domain} over HTTPS alone, not to {host[:255]}.")
            placeholder, put = secret.placeholder.encode(), secret.value.encode()
            if len(value) + value.count(placeholder) * (len(put) - len(placeholder)) > FILLED_BYTES:
                raise Refused(f"With its secret, a header of the request has over {FILLED_BYTES:,} bytes.")
            value = value.replace(placeholder, put)
        return value


def host_and_port(text: str, default: int) -> tuple[str, int]:
    """Reads `host:port`, `[address]:port` or a host alone. Raises `Refused`."""
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, str(default)
    host = host.strip("[]").lower().removesuffix(".")
    if not host or len(host) > 255 or len(port) > 5 or not port.isascii() or not port.isdigit():
        raise Refused("The address of the request cannot be read.")
    if not 0 < int(port) < 65536:
        raise Refused("The address of the request has no such port.")
    return host, int(port)


def _matches(host: str, domain: str) -> bool:
    return host == domain.removeprefix(".") or (domain.startswith(".") and host.endswith(domain))
