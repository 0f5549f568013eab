"""`helm/verify.sh` on a real cluster: it says honestly whether policies are enforced, and leaves nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import IMAGE, pods_in

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]

VERIFY = Path(__file__).parents[2] / "helm" / "verify.sh"


async def verified(*arguments: str) -> tuple[int, dict[str, str]]:
    """Runs it; returns its exit status, and the results by what they are about. Its table comes last, on stdout."""
    process = await asyncio.create_subprocess_exec(VERIFY, *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    rows = [[cell.strip() for cell in line.split("|")] for line in output.decode().splitlines() if "|" in line]
    assert process.returncode is not None
    return process.returncode, {what: result for result, what, _ in rows[1:]}


async def test_it_proves_what_is_enforced_and_nothing_else(api: Any, namespace: str) -> None:
    status, found = await verified("-n", namespace, "-i", IMAGE)
    # The namespace has no policies, so a cluster that enforces them lets everything through, too.
    assert status == 1
    assert found["the servers"] == "SKIPPED"
    assert found["a server reaches a sandbox's port"] == "PROVED"
    assert found["pods that are no sandboxes reach each other"] == "PROVED"
    assert found["another pod does not reach a sandbox"] == "FAILED"
    assert found["a sandbox does not reach another pod"] == "FAILED"
    assert await pods_in(api, namespace) == []
