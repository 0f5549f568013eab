"""The functions that read what other services say, with inputs for `tests/test_growth.py`: MCP servers, processes of
containers, servers of the same database, sign-in's provider. And the addresses and rules that requests give for them.
"""

import base64
import json
from contextlib import suppress

from joserfc.jwk import ECKey, KeySet

from codeact.public_addresses import check_url
from codeact.server.login.id_tokens import claims_of
from codeact.server.peers.signing import Verifier
from codeact.tools.approval import _names, policy_of
from codeact.tools.mcp_connection import decoded
from codeact.tools.mcp_messages import Cut, Lines, Messages
from sandbox_pool.backends.docker.exec import Heard
from tests.growth import BYTES, Inputs, Reader, contents, fed, refusing

__all__ = ["TABLE"]

STREAMS: Inputs = {
    "short lines": lambda n: [b"x\n" * 10] * n,
    "empty lines": lambda n: [b"\n" * 10] * n,
    "no end of line": lambda n: [b"x" * 100] * n,
    "events": lambda n: [b"data: x\n\n"] * n,
    "lines of one event": lambda n: [b"data: x\n"] * n,
    "events in lines that end early": lambda n: [b"data: x\r"] * n,
}


def decoding(line: bytes) -> None:
    with suppress(Cut):
        decoded(line)


KEYS = KeySet([ECKey.generate_key("P-256", {"kid": "k", "use": "sig"})])
SECRET = b"s" * 32


def claiming(token: str) -> object:
    return claims_of(token, KEYS, issuer="i", client_id="c", nonce="n", now=0.0)


def verifying(header: str) -> object:
    return Verifier(SECRET).check(header, receiver="a", method="GET", path=b"/", now=0.0)


def token(head: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(head).encode()).decode() + ".e30.c2ln"


TOKENS: Inputs = {
    "dots": lambda n: "." * n,
    "one part": lambda n: "e30" * n,
    "a long head": lambda n: token({"alg": "ES256", "kid": "k" * n}),
    "a head of many fields": lambda n: token({"alg": "ES256", **{f"a{at}": at for at in range(n)}}),
    "a deep head": lambda n: base64.urlsafe_b64encode(b'{"alg":' + b"[" * n).decode() + ".e30.c2ln",
    "many critical fields": lambda n: token({"alg": "ES256", "crit": [f"a{at}" for at in range(n)]}),
}
URLS: Inputs = {
    "a long host": lambda n: f"https://{'a.' * n}com/",
    "digits": lambda n: f"https://{'1.' * n}1/",
    "brackets": lambda n: f"https://{'[' * n}/",
    "escapes": lambda n: f"https://{'%41' * n}/",
    "a wide host": lambda n: "https://" + "\u00fc." * n,
    "a long path": lambda n: "https://a/" + "../" * n,
    "a long query": lambda n: "https://a/?" + "a=b&" * n,
}
RULES: Inputs = {
    "rules": lambda n: [f"function:f{at}" for at in range(n)],
    "stars": lambda n: ["host:" + "*a" * n],
    "one rule again and again": lambda n: ["code"] * n,
}


HOSTS: Inputs = {
    "many": lambda n: [f"{'a.' * 50}{at}" for at in range(n // 50)],
    "long ones": lambda n: ["a" * n] * 2,
}


def asking(hosts: list[str]) -> bool:
    return any(_names(rule, (), hosts) for rule in policy_of(["host:" + "*a" * 90 + "b", "host:*.a.*.b"]).rules)


TABLE: dict[str, tuple[Reader, Inputs]] = {
    "codeact.tools.mcp_messages.Lines": (refusing(fed(Lines)), STREAMS),
    "codeact.tools.mcp_messages.Messages": (refusing(fed(Messages)), STREAMS),
    "codeact.tools.mcp_connection.decoded": (
        decoding,
        {**BYTES, **contents('{"jsonrpc":"2.0","id":1,"result":{"a":', "}}")},
    ),
    "codeact.server.login.id_tokens.claims_of": (refusing(claiming), TOKENS),
    "codeact.server.peers.signing.Verifier": (
        verifying,
        {"a long header": lambda n: "a" * n, "dots": lambda n: "." * n, "a long signature": lambda n: "a." + "f" * n},
    ),
    "codeact.public_addresses.check_url": (refusing(lambda url: check_url(url, allow_private=False)), URLS),
    "codeact.tools.approval.policy_of": (refusing(policy_of), RULES),
    "codeact.tools.approval.ApprovalPolicy": (asking, HOSTS),
    "sandbox_pool.backends.docker.exec.Heard": (
        fed(lambda: Heard(b"ready\n")),
        {**STREAMS, "single bytes": lambda n: [b"r"] * n, "large pieces": lambda n: [b"read" * 16_000] * (n // 100)},
    ),
}
