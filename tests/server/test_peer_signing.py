"""What one server says to another cannot be forged, changed, sent elsewhere or sent twice."""

import pytest

from codeact.server.auth.caller import Caller
from codeact.server.peers.signing import FRESH_S, Claims, Verifier, sha256_of, sign
from codeact.store import OwnerLimits

SECRET, NOW = b"secret", 1_000.0
CALLER = Caller("ann", False, "key_1", OwnerLimits(responses_per_minute=3), OwnerLimits())


def claims(**changed: object) -> Claims:
    fields = {
        "sender": "b",
        "receiver": "a",
        "method": "POST",
        "path_sha256": sha256_of(b"/x?y=1"),
        "body_sha256": "00",
        "at": NOW,
    }
    return Claims(**(fields | {"caller": CALLER} | changed))  # type: ignore[arg-type]


def accepted(header: str, **changed: object) -> Claims | None:
    asked = {"receiver": "a", "method": "POST", "path": b"/x?y=1", "now": NOW} | changed
    return Verifier(SECRET).check(header, **asked)  # type: ignore[arg-type]


def test_a_signed_request_is_read_with_its_caller() -> None:
    found = accepted(sign(claims(), SECRET))
    assert found is not None
    assert found.caller == CALLER


@pytest.mark.parametrize(
    "changed",
    [
        {"receiver": "c"},
        {"method": "GET"},
        {"path": b"/x?y=2"},
        {"now": NOW + FRESH_S + 1},
        {"now": NOW - FRESH_S - 1},
    ],
)
def test_another_receiver_path_or_time_is_refused(changed: dict[str, object]) -> None:
    assert accepted(sign(claims(), SECRET), **changed) is None


@pytest.mark.parametrize("header", ["", ".", "x.y", "é.é", "a" * 1_000_000])
def test_what_is_not_signed_by_the_secret_is_refused(header: str) -> None:
    assert accepted(header) is None
    assert accepted(sign(claims(), b"another")) is None
    encoded, _, mac = sign(claims(), SECRET).partition(".")
    assert accepted(f"{encoded[:-4]}AAAA.{mac}") is None


def test_a_request_is_accepted_once() -> None:
    verifier, header = Verifier(SECRET), sign(claims(), SECRET)

    def check(header: str, now: float) -> Claims | None:
        return verifier.check(header, receiver="a", method="POST", path=b"/x?y=1", now=now)

    assert check(header, NOW) is not None
    assert check(header, NOW + 1) is None
    for number in range(100):  # Old ones are forgotten, since their time has passed.
        assert check(sign(claims(at=NOW + number), SECRET), NOW + number) is not None
    assert len(verifier._seen) <= 2 * FRESH_S + 1


def test_a_long_path_does_not_make_the_header_long() -> None:
    path = b"/x?y=" + 50_000 * b"a"
    header = sign(claims(path_sha256=sha256_of(path)), SECRET)
    assert len(header) < 2_000
    assert accepted(header, path=path) is not None
    assert accepted(header, path=path[:-1]) is None
