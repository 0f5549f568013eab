"""Why a container ended, and which features an engine lacks."""

from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from sandbox_pool.backends.docker.container import container_arguments, explain_death, missing_promises, shares_sockets
from sandbox_pool.backends.docker.network import Link
from sandbox_pool.spec import Limits, SandboxSpec

ABLE = {"MemoryLimit": True, "CpuCfsQuota": True, "PidsLimit": True}


def exited(code: int) -> dict[str, Any]:
    return {"Running": False, "ExitCode": code}


def test_a_kernel_killed_for_memory_names_the_limit_and_its_value() -> None:
    death = explain_death(exited(137), out_of_memory=True, limits=Limits(memory_mb=300))
    assert death.limit == "memory_mb"
    assert "300 MB" in death.detail


def test_a_kernel_that_outlived_a_child_killed_for_memory_did_not_die_of_it() -> None:
    assert explain_death(exited(0), out_of_memory=True, limits=Limits()).limit is None


@pytest.mark.parametrize(
    ("code", "words"), [(137, "SIGKILL"), (139, "SIGSEGV"), (3, "status 3"), (255, "status 255"), (0, "status 0")]
)
def test_any_other_end_is_told_in_words_and_blames_no_limit(code: int, words: str) -> None:
    death = explain_death(exited(code), out_of_memory=False, limits=Limits())
    assert words in death.detail
    assert death.limit is None


def test_a_process_that_is_still_there_did_not_exit() -> None:
    death = explain_death({"Running": True, "ExitCode": 0}, out_of_memory=False, limits=Limits())
    assert "does not answer" in death.detail


def test_an_engine_that_enforces_every_limit_misses_nothing() -> None:
    assert missing_promises(ABLE) == ()


def test_limits_that_an_engine_does_not_enforce_are_named() -> None:
    (sentence,) = missing_promises(ABLE | {"MemoryLimit": False, "PidsLimit": False})
    assert sentence.startswith("memory_mb, pids not enforced")


@pytest.mark.parametrize(
    ("options", "ours"),
    [
        (["name=apparmor", "name=seccomp,profile=default"], True),
        (["name=seccomp,profile=builtin"], True),
        (["name=seccomp,profile=/etc/docker/strict.json"], False),
        ([], False),
        (None, False),
    ],
)
def test_our_filter_replaces_the_engine_s_own_but_not_its_administrator_s(
    options: list[str] | None, ours: bool, tmp_path: Path
) -> None:
    with closing(docker.APIClient(base_url="unix:///nowhere.sock", version="1.41")) as client:
        arguments = container_arguments(
            client,
            {"SecurityOptions": options},
            "image",
            SandboxSpec(),
            Link(),
            sockets=tmp_path,
            connection="",
            entrypoint=(),
        )
    given = arguments["host_config"]["SecurityOpt"]
    assert given[0] == "no-new-privileges"
    assert [option.startswith("seccomp={") for option in given[1:]] == ([True] if ours else [])


@pytest.mark.parametrize(
    ("runtime", "default", "shared"),
    [(None, "runc", True), ("runc", "runsc", True), (None, "runsc", False), ("kata-runtime", "runc", False)],
)
def test_a_runtime_with_a_kernel_of_its_own_shares_no_sockets(runtime: str | None, default: str, shared: bool) -> None:
    assert shares_sockets(SandboxSpec(runtime=runtime), {"DefaultRuntime": default}) is shared
