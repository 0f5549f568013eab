"""Lengthens the product's deadlines that nothing but a busy machine exceeds in the tests.

CI runs three tests at once on two processors, and a process that gets none for seconds must not change what a test
sees. A test of a deadline sets it itself.
"""

from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["SETTINGS", "be_patient", "be_patient_with_servers"]

SETTINGS = {
    "lease_s": 30.0,
    "acquire_timeout_s": 240.0,
    "model_first_token_timeout_s": 120.0,
    "model_token_timeout_s": 120.0,
}
"""Settings of the tests' servers. A test that holds a model's reply back may do much meanwhile."""

SANDBOXES = {
    # How long code that is stopped may take to end, before its kernel is killed. See `impatient`, too.
    "sandbox_pool.sandbox.sandbox.INTERRUPT_GRACES_S": (10.0, 5.0),
    "sandbox_pool.sandbox.sandbox.DEFINE_TIMEOUT_S": 60.0,
    "sandbox_pool.sandbox.sandbox.INVENTORY_TIMEOUT_S": 30.0,
    # How long the reason of a kernel's death is looked for.
    "sandbox_pool.sandbox.lifecycle.EXIT_REASON_TIMEOUT_S": 30.0,
    "sandbox_pool.backends.process.backend.EXIT_S": 20.0,
    "sandbox_pool.backends.process.backend.TRIAL_S": 240.0,
    "sandbox_pool.backends.process.interpreter.PROBE_S": 240.0,
    "sandbox_pool.backends.process.inode_quota.MOUNT_S": 60.0,
    "codeact.workspaces.containers.EXIT_REASON_TIMEOUT_S": 30.0,
    "codeact.workspaces.containers.COLLECT_TIMEOUT_S": 60.0,
    # How long code waits until a checkpoint of the state before it is captured.
    "codeact.workspaces.workspace.CAPTURE_S": 30.0,
    "codeact.workspaces.checkpoints.CAPTURE_S": 30.0,
    # How late a kernel may be with what it printed before a call.
    "codeact.agent.code_execution.SETTLE_WITHIN_S": 5.0,
    # What is stored and given back at the end.
    "codeact.workspaces.checkpoints.CLOSE_S": 30.0,
    "codeact.workspaces.shared_quota.STORE_TIMEOUT_S": 30.0,
    "codeact.runs.admission.UNCOUNT_TIMEOUT_S": 30.0,
    "codeact.runs.shared_slots.GIVE_BACK_TIMEOUT_S": 30.0,
    "codeact.runs.steering.ANSWER_TIMEOUT_S": 60.0,
}
SERVERS = {
    "codeact.server.auth.audit_log.LAST_FLUSH_S": 30.0,
    "codeact.server.auth.key_uses.LAST_FLUSH_S": 30.0,
    "codeact.server.http.HEAD_TIMEOUT_S": 60.0,
    "codeact.server.login.provider_http.DEADLINE_S": 60.0,
    "codeact.server.peers.client.CONNECT_TIMEOUT_S": 30.0,
    "codeact.server.peers.everywhere.WITHIN_S": 30.0,
    "codeact.server.readiness.ASK_WITHIN_S": 30.0,
}


def be_patient(patch: Callable[[object, str, object], object] = setattr) -> None:
    """Changes the deadlines of sandboxes and runs with `patch`."""
    _change(SANDBOXES, patch)


def be_patient_with_servers() -> None:
    """Changes a server's deadlines, for the rest of the process."""
    from codeact.server.watchdog import Watchdog

    _change(SERVERS, setattr)
    assert Watchdog.__init__.__kwdefaults__ is not None
    Watchdog.__init__.__kwdefaults__["stuck_s"] = 60.0


def _change(values: Mapping[str, object], patch: Callable[[object, str, object], object]) -> None:
    for place, value in values.items():
        module, _, name = place.rpartition(".")
        found = import_module(module)
        assert hasattr(found, name), place
        patch(found, name, value)
