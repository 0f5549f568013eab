"""Limits through systemd, with a real service manager if there is one."""

import subprocess

import pytest

from sandbox_pool.backends.process.resource_group import restore
from sandbox_pool.backends.process.systemd_scope import Scope, Scopes
from sandbox_pool.spec import Limits


@pytest.fixture
def scopes() -> Scopes:
    scopes = Scopes.find()
    if scopes is None:
        pytest.skip("no systemd service manager answers")
    return scopes


def test_the_command_gets_its_own_environment_and_none_of_the_service_manager_s() -> None:
    command, environment = Scope("a.scope", ("TasksMax=5",)).wrap(["true", "x"], {"HOME": "/workspace"})
    assert command[-6:] == ["--", "env", "-i", "HOME=/workspace", "true", "x"]
    assert "--property=TasksMax=5" in command
    assert "HOME" not in environment


def test_the_limits_of_a_scope_are_enforced_and_told(scopes: Scopes) -> None:
    scope = scopes.create("test", Limits(memory_mb=50))
    command, environment = scope.wrap(["python3", "-c", "b'x' * 10**9"], {"PATH": "/usr/bin:/bin"})
    ended = subprocess.run(command, env=environment, timeout=60, check=False)
    assert ended.returncode != 0
    assert scope.oom_killed()
    restore(scope.record()).remove()
    assert not scope.oom_killed()


def test_removing_a_scope_ends_what_runs_in_it(scopes: Scopes) -> None:
    scope = scopes.create("test", Limits())
    command, environment = scope.wrap(["sleep", "600"], {"PATH": "/usr/bin:/bin"})
    with subprocess.Popen(command, env=environment) as process:
        while not scope_is_active(scope):
            assert process.poll() is None
        scope.remove()
        assert process.wait(timeout=60) != 0


def scope_is_active(scope: Scope) -> bool:
    command = ["systemctl", "--user", "is-active", scope.unit]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "active"
