"""Which parts of a connection string may be shown."""

from pathlib import Path

import pytest

from codeact.store import describe
from codeact.store.database.uri import is_readable, redact, socket_uri


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://db.example:27017/app", "mongodb://db.example:27017/app"),
        ("mongodb://user:s3cret@db.example", "mongodb://db.example"),
        ("mongodb://user:s3cret@a:1,b:2/app?replicaSet=rs&w=majority", "mongodb://a:1,b:2/app"),
        ("mongodb+srv://user:s3cret@cluster.example/?appName=@x@", "mongodb+srv://cluster.example"),
        ("mongodb://db.example?authSource=admin", "mongodb://db.example"),
        ("mongodb://%2Fvar%2Frun%2Fmongod.sock/app?x=y", "/var/run/mongod.sock"),
        (socket_uri(Path("/home/é b/mongod.sock")), "/home/é b/mongod.sock"),
        ("mongodb://user:s3/cret@db.example/app", "an address that cannot be read"),
        ("mongodb://user:s3#cret@db.example/app", "an address that cannot be read"),
        ("mongodb://user:s3?cret@db.example/app", "an address that cannot be read"),
        ("mongodb://user:s3@cret@db.example/app", "an address that cannot be read"),
        ("mongodb://user:s3cret%40db.example/app", "an address that cannot be read"),
        ("mongodb://[::1]:27017,b/app", "mongodb://[::1]:27017,b/app"),
        ("postgres://user:s3cret@db.example", "an address that cannot be read"),
        ("s3cret", "an address that cannot be read"),
        ("", "an address that cannot be read"),
    ],
)
def test_hosts_and_database_are_shown_and_nothing_else(uri: str, shown: str) -> None:
    assert describe(uri) == shown


def test_a_secret_that_was_not_encoded_makes_a_uri_unreadable() -> None:
    assert not is_readable("mongodb://user:a/b@host")
    assert not is_readable("mongodb://us@er:pw@host")
    assert not is_readable("mongodb://user:pw%40host")
    assert is_readable("mongodb://user:a%2Fb@host/?appName=@cosmos@")
    assert is_readable("mongodb://user:pw@[::1]:27017,b/app")


@pytest.mark.parametrize(
    "text", ["bad 's3:cret'", "bad 's3%3Acret'", "no such key: /k3y", "TOKEN:t0ken=", "pw0rd is wrong"]
)
def test_no_secret_of_a_uri_gets_through(text: str) -> None:
    uri = (
        "mongodb://user:s3%3Acret@host/?tlsCertificateKeyFilePassword=pw0rd"
        "&authMechanismProperties=AWS_SESSION_TOKEN:t0ken=,CANONICALIZE_HOST_NAME:%2Fk3y"
    )
    shown = redact(text, uri)
    assert "***" in shown
    assert not any(secret in shown for secret in ("s3:cret", "s3%3Acret", "k3y", "t0ken", "pw0rd"))
