"""The description of a sandbox is validated when it is made, because other programs read parts of it."""

import pytest

from sandbox_pool.spec import Limits, SandboxSpec


@pytest.mark.parametrize("host", ["packages.example", ".packages.example", "xn--bcher-kva.example", "localhost"])
def test_names_of_hosts_are_taken(host: str) -> None:
    assert SandboxSpec(network="internal", allowed_hosts=(host,)).allowed_hosts == (host,)


@pytest.mark.parametrize(
    "host", ["", ".", "*", "a b", "a\nhttp_access allow all", "a/b", "$HOME", "..a", "a" * 64, "-n\t"]
)
def test_what_is_no_name_of_a_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="not the name of a host"):
        SandboxSpec(network="internal", allowed_hosts=(host,))


def test_an_internal_network_without_hosts_is_refused() -> None:
    with pytest.raises(ValueError, match="takes the names of the hosts"):
        SandboxSpec(network="internal")


def test_limits_are_explained_with_their_value_and_others_not_at_all() -> None:
    assert Limits(pids=7).explain("pids").startswith("There are 7 processes")
    assert Limits().explain("the code's invention") == ""
