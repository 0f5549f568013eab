"""Which hosts the code of a sandbox may reach, and where placeholders become secrets."""

import base64

import pytest

from sandbox_pool.egress.rules import Refused, Rules, Secret, host_and_port
from sandbox_pool.spec import Egress, SandboxSpec

SECRET = Secret("api.test", "placeholder-1", "s3cret")
RULES = Rules(("api.test", ".wide.test", "other.test"), (SECRET,))


@pytest.mark.parametrize("host", ["api.test", "wide.test", "a.b.wide.test"])
def test_named_hosts_are_allowed_on_their_ports(host: str) -> None:
    RULES.check(host, 443, tls=True)
    RULES.check(host, 80, tls=False)


@pytest.mark.parametrize("host", ["sub.api.test", "api.test.evil.test", "evilwide.test", "127.0.0.1", "", "api.test\n"])
def test_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(Refused, match=r"is not allowed\. Allowed here: api\.test"):
        RULES.check(host, 443, tls=True)


@pytest.mark.parametrize(("port", "tls"), [(22, True), (80, True), (443, False), (8080, False)])
def test_other_ports_are_refused(port: int, tls: bool) -> None:
    with pytest.raises(Refused, match="Only port"):
        RULES.check("api.test", port, tls=tls)


def test_a_secret_takes_the_place_of_its_placeholder_also_in_basic_credentials() -> None:
    basic = b"Basic " + base64.b64encode(b"me:placeholder-1")
    filled = RULES.filled([(b"authorization", b"Bearer placeholder-1"), (b"x", basic)], "api.test", tls=True)
    assert filled == [
        (b"authorization", b"Bearer s3cret"),
        (b"x", b"Basic " + base64.b64encode(b"me:s3cret")),
    ]


@pytest.mark.parametrize(("host", "tls"), [("other.test", True), ("api.test", False)])
def test_a_secret_goes_to_its_own_host_and_over_tls_alone(host: str, tls: bool) -> None:
    for value in (b"Bearer placeholder-1", b"Basic " + base64.b64encode(b"me:placeholder-1")):
        with pytest.raises(Refused, match=r"goes to api\.test over HTTPS alone"):
            RULES.filled([(b"authorization", value)], host, tls=tls)
    assert RULES.filled([(b"a", b"b"), (b"c", b"Basic %%%")], host, tls=tls) == [(b"a", b"b"), (b"c", b"Basic %%%")]


@pytest.mark.parametrize("text", ["", ":443", "a:b", "a:0", "a:65536", "a:" + "9" * 5000, "x" * 300, "a:٣"])
def test_addresses_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        host_and_port(text, 443)


def test_addresses_are_read_in_all_their_forms() -> None:
    assert host_and_port("API.Test.:8443", 443) == ("api.test", 8443)
    assert host_and_port("api.test", 443) == ("api.test", 443)
    assert host_and_port("[::1]:80", 443) == ("::1", 80)
    assert host_and_port("[::1]", 443) == ("::1", 443)


def test_a_spec_takes_only_names_of_hosts_and_one_network() -> None:
    with pytest.raises(ValueError, match="is not the name of a host"):
        Egress(("http://api.test",))
    with pytest.raises(ValueError, match="no other network"):
        SandboxSpec(network="open", egress=Egress(("api.test",)))


def test_secrets_do_not_make_headers_of_any_length() -> None:
    rules = Rules(("api.test",), (Secret("api.test", "placeholder-1", "s" * 8_192),))
    few = [(b"x-key", b"placeholder-1," * 10)]
    assert len(rules.filled(few, "api.test", tls=True)[0][1]) > 80_000
    for hostile in ([(b"x-key", b"placeholder-1," * 2_000)], few * 2):
        with pytest.raises(Refused, match="over 131,072 bytes"):
            rules.filled(hostile, "api.test", tls=True)
