"""Finds out, in a sandbox that is tried, what the cluster does not enforce."""

import json
from dataclasses import dataclass
from typing import Any

from anyio import EndOfStream
from anyio.abc import ByteStream

from sandbox_pool.backends.kubernetes.manifest import WORKSPACE
from sandbox_pool.errors import EngineUnavailable
from sandbox_pool.spec import SandboxSpec

__all__ = ["Facts", "examine"]

ANSWER_BYTES = 10_000
SLACK = 1.1
PROBE = """
import json, os, socket, sys
places = {place: os.statvfs(place) for place in sys.argv[1:]}
facts = {"sizes": {place: found.f_blocks * found.f_frsize for place, found in places.items()}, "reached": None}
address = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
if all(address):
    try:
        socket.create_connection((address[0], int(address[1])), timeout=2).close()
        facts["reached"] = True
    except ConnectionRefusedError:
        facts["reached"] = True
    except OSError:
        facts["reached"] = False
facts["filtered"] = "Seccomp:\\t2" in open("/proc/self/status").read()
print(json.dumps(facts))
"""
"""Runs in the pod: the sizes of the places that can be written to, and whether the cluster's API can be reached."""


def examine(spec: SandboxSpec) -> tuple[str, ...]:
    """A Python program and its arguments; `Facts.read` reads what it says."""
    return (PROBE, WORKSPACE, "/tmp", "/dev/shm")  # noqa: S108


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen in a sandbox; without arguments, where none could be tried."""

    sizes: tuple[tuple[str, int], ...] = ()
    reached: bool | None = None
    filtered: bool = True

    @classmethod
    async def read(cls, stream: ByteStream) -> "Facts":
        answer = b""
        try:
            while len(answer) < ANSWER_BYTES:
                answer += await stream.receive()
        except EndOfStream:
            pass
        try:
            found: dict[str, Any] = json.loads(answer)
            sizes = tuple((str(place), int(size)) for place, size in found["sizes"].items())
            return cls(sizes, found["reached"], bool(found["filtered"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise EngineUnavailable("A sandbox was tried, and did not say what it sees.") from None

    def missing(self, spec: SandboxSpec) -> tuple[str, ...]:
        """A sentence for each promise that this cluster does not keep, with its remedy."""
        limits = spec.limits
        wanted = {WORKSPACE: ("workspace_mb", limits.workspace_mb), "/tmp": ("tmp_mb", limits.tmp_mb)}  # noqa: S108
        wanted["/dev/shm"] = ("shm_mb", limits.shm_mb)  # noqa: S108
        unbounded = [wanted[place][0] for place, size in self.sizes if size > wanted[place][1] * 1024 * 1024 * SLACK]
        found = ["workspace_inodes is not enforced: Kubernetes has no limit on the number of files."]
        if unbounded:
            found.append(
                f"{', '.join(unbounded)} enforced late: this cluster's nodes end a sandbox that has written more,"
                " instead of refusing the write. Kubernetes 1.22 and later do."
            )
        if self.reached and spec.network == "none":
            found.append(
                "Sandboxes can reach the network: this cluster does not enforce network policies, or has none for them."
                " Install a network plugin that does (Calico, Cilium), and the policies of helm/codeact."
            )
        if not self.filtered:
            found.append("System calls are not filtered: the node's container runtime has no seccomp.")
        return tuple(found)
