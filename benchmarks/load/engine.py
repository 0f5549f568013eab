"""A Docker engine of the soak's own, which it kills and starts again without touching the machine's engine."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import docker

from sandbox_pool.backends.docker.image import ensure_image

__all__ = ["Engine", "own_engine"]

STARTS_WITHIN_S = 120.0
FLAGS = ("--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false", "--log-level=error")
"""Sandboxes have no network. The engine has one of its own (`unshare`): it would remove the bridge of the machine's."""


class Engine:
    """An engine whose files are all in `folder`. `host` is its address, for `DOCKER_HOST`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self.host = f"unix://{folder / 'docker.sock'}"

    async def start(self) -> None:
        """Starts the engine, and returns when it answers. Raises `RuntimeError` if it does not."""
        folder = self._folder
        places = [f"--data-root={folder / 'data'}", f"--exec-root={folder / 'exec'}", f"--pidfile={folder / 'pid'}"]
        with (folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                "unshare", "--net", "dockerd", *places, f"--host={self.host}", *FLAGS, stdout=log, stderr=log
            )
        until = time.monotonic() + STARTS_WITHIN_S
        while await self._fails("version"):
            if self._process.returncode is not None or time.monotonic() > until:
                raise RuntimeError(f"no engine of its own: {(folder / 'log').read_text()[-1000:]}")
            await asyncio.sleep(0.2)

    async def restart(self) -> None:
        """Kills the engine and starts it again, which ends all of its containers."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()
        self._kill_containerd()
        (self._folder / "pid").unlink(missing_ok=True)
        shutil.rmtree(self._folder / "exec" / "containerd", ignore_errors=True)
        await self.start()

    async def stop(self) -> None:
        """Removes all containers, and ends the engine and its containerd."""
        await self._run("sh", "-c", "docker ps -aq | xargs -r docker rm -f")
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()
        self._kill_containerd()
        while not await self._run("umount", str(self._folder / "data")):
            pass  # An engine that was killed leaves its folder mounted on itself.

    def _kill_containerd(self) -> None:
        """An engine that was killed leaves its containerd, with which the next one does not start."""
        with suppress(OSError, ValueError):
            os.kill(int((self._folder / "exec" / "containerd" / "containerd.pid").read_text()), signal.SIGKILL)

    async def load(self, image: str) -> None:
        """Copies an image from the machine's engine."""
        if await self._run("sh", "-c", f"DOCKER_HOST= docker save {image} | docker load --quiet"):
            raise RuntimeError(f"the image {image} cannot be copied")

    async def containers(self) -> int:
        """How many containers there are, running or not."""
        process = await asyncio.create_subprocess_exec(
            *("docker", "ps", "--all", "--quiet"), env=self._environment(), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return len(output.split())

    async def _fails(self, *command: str) -> bool:
        return bool(await self._run("docker", *command))

    async def _run(self, *command: str) -> int:
        null = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, env=self._environment(), stdout=null, stderr=null)
        return await process.wait()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": self.host}


@asynccontextmanager
async def own_engine() -> AsyncIterator[Engine]:
    """Runs an engine with the image of the default sandbox. It needs root, `dockerd`, and the machine's engine."""
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        raise RuntimeError("The soak with Docker starts an engine of its own: that needs dockerd, and root.")
    image = await anyio.to_thread.run_sync(_image)
    with tempfile.TemporaryDirectory(prefix="codeact-engine-", ignore_cleanup_errors=True) as folder:
        engine = Engine(Path(folder))
        try:
            await engine.start()
            await engine.load(image)
            yield engine
        finally:
            with anyio.CancelScope(shield=True):
                await engine.stop()


def _image() -> str:
    client = docker.APIClient(version="auto")
    try:
        return ensure_image(client, None, partial(print, file=sys.stderr))
    finally:
        client.close()
