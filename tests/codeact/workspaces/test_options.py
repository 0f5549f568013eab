"""What of an earlier container's options is still allowed."""

from codeact.workspaces.options import ContainerLimits, ContainerOptions
from sandbox_pool.spec import Egress

EARLIER = ContainerOptions(memory_mb=4096, egress=Egress(("api.example.com", "elsewhere.org")), idle_timeout_s=3_600.0)


def test_options_within_the_limits_stay() -> None:
    limits = ContainerLimits(4096, (".example.com", "elsewhere.org"), 3_600.0)
    assert limits.allowed(EARLIER) == (EARLIER, [])
    assert ContainerLimits().allowed(EARLIER) == (EARLIER, [])


def test_options_over_the_limits_are_left_out_and_named() -> None:
    options, refused = ContainerLimits(1024, (".example.com",), 900.0).allowed(EARLIER)
    assert options == ContainerOptions(egress=Egress(("api.example.com",)))
    assert [each.name for each in refused] == ["memory_limit", "allowed_domains elsewhere.org", "expires_after"]
    assert refused[0].reason == "containers have at most 1024 MB now, not 4096"


def test_a_container_none_of_whose_hosts_is_allowed_any_more_has_no_network() -> None:
    options, refused = ContainerLimits(4096, (), 3_600.0).allowed(EARLIER)
    assert (options.egress, options.no_network, len(refused)) == (None, True, 2)
