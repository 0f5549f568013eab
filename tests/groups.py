"""Assigns the files of tests to groups for pytest-xdist, and orders the groups.

The tests of a group run one after the other in one worker; groups run in parallel. Each file is its own group, unless
it is in `SHARED` or has `pytestmark = pytest.mark.xdist_group("name")`.
"""

import re
from functools import cache
from pathlib import Path

__all__ = ["group_of", "place_of"]

ROOT = Path(__file__).parents[1]
SHARED = {
    "tests/attacks/": "attacks",
    "tests/docker/": "images",
    "tests/web/": "browser",
}
"""Folders whose files share expensive fixtures."""

FIRST = ("own", "browser", "images")
"""Groups that start first, each in a fresh worker. `own` counts all processes, threads and descriptors of its process,
so no other test may have run in it; the others take longest.
"""
EARLY = ("kill", "attacks")
LONG = (
    "tests/server/test_faults.py",
    "tests/server/test_real_model.py",
    "tests/codeact/evals/test_own_suite.py",
    "tests/clients/test_clients.py",
    "tests/server/test_hostile_requests.py",
    "tests/server/test_dialects.py",
    "tests/test_examples.py",
    "tests/server/embed/test_tokens.py",
    "tests/server/test_serve.py",
    "tests/failures/test_tasks.py",
    "tests/slurm/test_slurm.py",
    "tests/sandbox_pool/sandbox/test_files.py",
    "tests/test_growth.py",
    "tests/server/test_websocket.py",
    "tests/server/test_openapi.py",
    "tests/test_wheel.py",
    "tests/server/test_containers.py",
    "tests/server/test_approvals.py",
    "tests/codeact/cli/commands/test_run_and_chat.py",
    "tests/codeact/workspaces/test_workspace.py",
    "tests/codeact/api/test_api.py",
    "tests/codeact/api/test_agents.py",
    "tests/codeact/evals/test_real_model.py",
    "tests/failures/test_ways_in.py",
    "tests/clients/test_openai_3.py",
    "tests/sandbox_pool/test_notebook.py",
    "tests/sandbox_pool/test_calls.py",
    "tests/server/test_watchdog.py",
    "tests/server/test_commands.py",
    "tests/server/test_auth.py",
    "tests/server/test_requests_of_today.py",
    "tests/server/test_audit_log.py",
    "tests/codeact/store/test_embedded.py",
    "tests/codeact/api/test_process_state.py",
    "tests/test_docs.py",
)
"""Files that take 20 seconds or more, the longest first. If one of them started last, the other workers would wait."""

MARKED = re.compile(r'^pytestmark = [^=]*?xdist_group\("(\w+)"\)', re.MULTILINE)


@cache
def group_of(path: str) -> str:
    """Returns the group of a file, given its path relative to the checkout."""
    for folder, group in SHARED.items():
        if path.startswith(folder):
            return group
    marked = MARKED.search((ROOT / path).read_text("utf-8"))
    return marked[1] if marked else path


def place_of(group: str) -> int:
    """Returns the position of a group. Long groups start early, so that none is left at the end."""
    order = (*FIRST, *EARLY, *LONG)
    return order.index(group) if group in order else len(order)
