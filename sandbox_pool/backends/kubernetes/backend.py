"""The backend that runs each sandbox as a pod of a Kubernetes cluster, whose kernel it reaches by the pod's address.

The pods are its own (`plain_pods.py`), or those of a warm pool of agent-sandbox (`claimed_pods.py`).

A pod has one port. Behind it is `pod_main.py`, the pod's first process, which lets nobody in who lacks the key that it
made itself and handed over once, through the cluster's API, when the kernel was ready. A pod whose server is gone
ends itself, so what is left of a dead server is pods that have ended, and pods that never started.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio.abc import ByteStream

from sandbox_pool.backends.base import GUEST, Claim, Death, Isolation, Notice, Started
from sandbox_pool.backends.kubernetes.choosing import choose
from sandbox_pool.backends.kubernetes.cluster import Cluster
from sandbox_pool.backends.kubernetes.door import Door, Life
from sandbox_pool.backends.kubernetes.manifest import PLACES, PORT, PYTHON, WORKSPACE, check_network
from sandbox_pool.backends.kubernetes.pod_state import memory_death
from sandbox_pool.backends.kubernetes.provisioner import Provisioner
from sandbox_pool.backends.kubernetes.trial import Facts, examine
from sandbox_pool.backends.shared.kernel_process import exit_sentence
from sandbox_pool.backends.shared.unix_stream import UnixStream
from sandbox_pool.errors import (
    AtCapacity,
    EngineUnavailable,
    FileRefused,
    ImageUnavailable,
    SandboxError,
    SandboxStartFailed,
)
from sandbox_pool.logs import Logger
from sandbox_pool.spec import Limits, SandboxSpec

__all__ = ["KubernetesBackend"]

log = Logger(__name__)

FILES_MAIN = (GUEST / "files_main.py").read_text()
HAND_OVER = f"""
import socket, sys, time
for _ in range(500):
    try:
        pod = socket.socket(socket.AF_UNIX)
        pod.connect("{PLACES}/hand-over")
        break
    except OSError:
        time.sleep(0.02)
while piece := pod.recv(65536):
    sys.stdout.buffer.write(piece)
"""
"""Runs in the pod, asked through the cluster's API, before any other code does."""
TRIAL_S = 120.0
REASON_S = 1.7
"""How long the cluster may take to say why a pod ended."""
NETWORKS = {"none": "no network", "open": "open network"}


@dataclass(frozen=True, slots=True)
class _Held:
    door: Door
    life: Life


class KubernetesBackend:
    """A `Backend`. `prepare` comes first. It keeps nothing in its directory: the cluster knows the pods."""

    name = "kubernetes"

    def __init__(self, state_dir: Path) -> None:
        self._instance = secrets.token_hex(4)
        self._cluster: Cluster | None = None
        self._provisioner: Provisioner | None = None
        self._follower: asyncio.Task[None] | None = None
        self._held: dict[str, _Held] = {}
        self._facts: dict[SandboxSpec, Facts] = {}
        self._latest: SandboxSpec | None = None

    @property
    def isolation(self) -> Isolation:
        spec = self._latest
        assert spec is not None, "prepare has not been called"
        cluster, provisioner = self._connected
        summary = f"{provisioner.summary} in the namespace {cluster.namespace}, {NETWORKS[spec.network]}"
        return Isolation(True, summary, (*self._facts[spec].missing(spec), *provisioner.missing))

    @property
    def claim(self) -> Claim | None:
        return self.create if self._connected[1].keeps_warm else None

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        check_network(spec)
        if self._cluster is None:
            self._cluster = await Cluster.connect(spec.pods.namespace)
        cluster = self._cluster
        if self._provisioner is None:
            provisioner = await choose(cluster, spec.pods, self._instance, progress)
            if missing := await cluster.missing_rights(provisioner.rights):
                raise EngineUnavailable(
                    f"In the namespace {cluster.namespace} of {cluster.address} we may not:"
                    f" {', '.join(map(str, missing))}. Give the server's account the rights of"
                    " helm/codeact/templates/rbac.yaml."
                )
            self._provisioner = provisioner
        self._have_followed()
        if spec not in self._facts:
            progress(f"Trying a sandbox in the namespace {cluster.namespace} of {cluster.address}")
            self._facts[spec] = await self._try(spec, progress)
        self._latest = spec

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        """Creates a pod, or claims one of the cluster's warm pool, and connects to it."""
        cluster, provisioner = self._connected
        try:
            name, address = await provisioner.obtain(sandbox_id, spec)
            command = (PYTHON, "-I", "-S", "-c", HAND_OVER)
            door, kernel = _handed_over(await cluster.exec(name, command, sandbox_id=sandbox_id), address, sandbox_id)
            try:
                self._held[sandbox_id] = _Held(door, await door.life())
            except OSError as error:
                raise SandboxStartFailed(
                    f"The sandbox's pod cannot be reached at {address} port {PORT}: {error or 'no answer'}. The server"
                    " has to run in the cluster's network, and a network policy has to let it in.",
                    sandbox_id=sandbox_id,
                ) from error
        except BaseException:
            with suppress(SandboxError):
                await self.destroy(sandbox_id)
            raise
        return Started(sandbox_id, kernel, door.dial)

    @asynccontextmanager
    async def files(self, sandbox_id: str, request: Mapping[str, Any]) -> AsyncIterator[ByteStream]:
        asked = json.dumps({**request, "root": WORKSPACE, "user": None})
        async with self._program(sandbox_id, FILES_MAIN, asked) as stream:
            yield stream

    async def add_readonly(self, sandbox_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        raise FileRefused("Files that code cannot change (skills) need sandboxes of Docker or bubblewrap, not pods.")

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        _, provisioner = self._connected
        if held := self._held.get(sandbox_id):
            await asyncio.wait({held.life.ended}, timeout=REASON_S / 2)
            words = held.life.ended.result() if held.life.ended.done() and not held.life.ended.cancelled() else None
            if words is not None:
                return memory_death(limits) if words.get("out_of_memory") else Death(exit_sentence(int(words["code"])))
        found = await provisioner.reason(sandbox_id, limits, timeout_s=REASON_S / 2)
        return found or Death("The kernel does not answer.")

    async def destroy(self, sandbox_id: str) -> None:
        _, provisioner = self._connected
        held = self._held.pop(sandbox_id, None)
        # Once its processes have ended, as the pod itself has confirmed, its object can go at once.
        ended = held is not None and await held.life.end()
        await provisioner.release(sandbox_id, ended=ended)

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        _, provisioner = self._connected
        provisioner.tell(notice)
        try:
            # Whoever supervises this call learns what ended it, and calls again.
            await asyncio.shield(self._have_followed())
        finally:
            provisioner.tell(lambda notice: None)

    async def list(self) -> list[str]:
        return await self._connected[1].abandoned()

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait({self._follower})
        for held in self._held.values():
            await held.life.end()
        if self._cluster is not None:
            await self._cluster.close()

    @property
    def _connected(self) -> tuple[Cluster, Provisioner]:
        assert self._cluster is not None, "prepare has not been called"
        assert self._provisioner is not None
        return self._cluster, self._provisioner

    def _have_followed(self) -> "asyncio.Task[None]":
        """The task that follows the cluster's events; a new one where an error of ours has ended it."""
        _, provisioner = self._connected
        if self._follower is None or self._follower.done():
            self._follower = asyncio.create_task(provisioner.follow(), name="events of the cluster")
        return self._follower

    @asynccontextmanager
    async def _program(self, sandbox_id: str, source: str, *arguments: str) -> AsyncIterator[ByteStream]:
        held = self._held.get(sandbox_id)
        if held is None:
            raise SandboxError("The sandbox is gone.", sandbox_id=sandbox_id)
        try:
            stream = UnixStream(*await asyncio.open_connection(sock=await held.door.program(source, *arguments)))
        except OSError as error:
            raise SandboxError(f"The sandbox's pod cannot be reached: {error}.", sandbox_id=sandbox_id) from error
        try:
            yield stream
        finally:
            await stream.aclose()

    async def _try(self, spec: SandboxSpec, progress: Callable[[str], None]) -> Facts:
        """What the cluster makes of such a sandbox. Leaves nothing."""
        sandbox_id = f"trial-{secrets.token_hex(6)}"
        try:
            async with asyncio.timeout(TRIAL_S):
                await self.create(sandbox_id, spec)
                async with self._program(sandbox_id, *examine(spec)) as stream:
                    return await Facts.read(stream)
        except AtCapacity as error:
            # Another server may hold what there is until it has been replaced by this one.
            progress(f"No sandbox could be tried: {error.message}")
            return Facts()
        except TimeoutError:
            raise EngineUnavailable(
                f"A trial sandbox did not start within {TRIAL_S:g} s. Look at: kubectl -n"
                f" {self._connected[0].namespace} get events."
            ) from None
        except (EngineUnavailable, ImageUnavailable):
            raise
        except SandboxError as error:
            raise EngineUnavailable(error.message) from error
        finally:
            with suppress(SandboxError):
                await self.destroy(sandbox_id)


def _handed_over(answer: bytes, address: str, sandbox_id: str) -> tuple[Door, dict[str, Any]]:
    """What the pod gave: how it is reached, and its kernel's connection. Raises `SandboxStartFailed`."""
    try:
        found = json.loads(answer)
        if "code" in found:
            words = f"{exit_sentence(int(found['code']))} {str(found.get('words', ''))[-2_000:]}".strip()
            raise SandboxStartFailed(words, sandbox_id=sandbox_id)
        return Door(address, PORT, bytes.fromhex(found["key"])), dict(found["kernel"])
    except (ValueError, KeyError, TypeError):
        raise SandboxStartFailed(
            "The sandbox's pod did not hand over its key. Is its image made from docker/sandbox.Dockerfile?",
            sandbox_id=sandbox_id,
        ) from None
