"""What the prompt says about the sandbox is true for each kind of sandbox."""

from datetime import date

import pytest

from codeact.environment import SHOWN_HOSTS, Environment
from sandbox_pool import Isolation, Limits, SandboxSpec

TODAY = date(2026, 3, 1)


def told(environment: Environment) -> str:
    return "\n".join(environment.rules(TODAY))


def test_a_sandbox_without_a_network_is_said_to_have_none() -> None:
    assert "There is no network" in told(Environment.of(SandboxSpec()))


def test_an_internal_network_is_told_with_its_hosts() -> None:
    spec = SandboxSpec(network="internal", allowed_hosts=("api.example.com", ".example.org"))
    text = told(Environment.of(spec))
    assert "reaches api.example.com, example.org with its subdomains over HTTP and HTTPS, and nothing else" in text
    assert "no network" not in text


def test_a_long_list_of_hosts_is_counted_and_not_told_whole() -> None:
    hosts = tuple(f"h{number}.example.com" for number in range(1000))
    text = told(Environment.of(SandboxSpec(network="internal", allowed_hosts=hosts)))
    assert f"h{SHOWN_HOSTS - 1}.example.com, {1000 - SHOWN_HOSTS} more hosts over" in text
    assert len(text) < 2000


@pytest.mark.parametrize(
    ("spec", "isolation"),
    [
        (SandboxSpec(network="open"), Isolation(True, "")),
        (SandboxSpec(network="none"), Isolation(False, "a plain process has the network of its host")),
    ],
)
def test_a_network_that_can_be_reached_is_told(spec: SandboxSpec, isolation: Isolation) -> None:
    text = told(Environment.of(spec, isolation))
    assert "There is a network" in text
    assert "no network" not in text


def test_a_plain_process_is_not_said_to_have_a_read_only_system() -> None:
    assert "read-only" in told(Environment.of(SandboxSpec()))
    assert "read-only" not in told(Environment.of(SandboxSpec(), Isolation(False, "")))


def test_limits_packages_and_the_date_are_told() -> None:
    limits = Limits(execution_timeout_s=2.5, memory_mb=512, cpus=0.5, workspace_mb=7)
    text = told(Environment.of(SandboxSpec(limits=limits), packages=["numpy", "scipy"]))
    assert "run 2.5 s and use 512 MB of memory" in text
    assert "0.5 CPU" in text
    assert "working directory (7 MB)" in text
    assert "Installed beside the standard library: numpy, scipy." in text
    assert "Today is Sunday, 2026-03-01." in text
