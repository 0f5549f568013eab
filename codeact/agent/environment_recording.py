"""Records in a response what its code ran with, so that the answer can be verified later."""

import re
from collections.abc import Awaitable, Callable

from anyio.abc import TaskGroup

from codeact import events as e
from codeact.errors import CodeActError
from sandbox_pool.errors import SandboxGone
from sandbox_pool.logs import Logger
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["EnvironmentRecording", "seeds_in"]

log = Logger(__name__)

MOST_SEEDS = 20
SEEDERS = ("seed", "RandomState", "default_rng", "PRNGKey", "random_state")
SEED = re.compile(
    r"(?:\b\w{1,40}\.){0,4}\b(?:(?:manual_|set_)?seed|RandomState|default_rng|PRNGKey)\([^()\n]{1,40}\)"
    r"|\brandom_state=\d{1,20}"
)


class EnvironmentRecording:
    """Fills `response.environment`. `keep_source` stores the functions' definitions in the background."""

    def __init__(
        self, response: e.Response, keep_source: Callable[[str], Awaitable[str]] | None, background: TaskGroup
    ) -> None:
        self._response = response
        self._keep_source = keep_source
        self._background = background
        self._source: str | None = None

    def begin(self, sandbox: Sandbox, source: str | None) -> None:
        """Records the sandbox, and the definitions of the functions that code can call in it."""
        try:
            packages = dict(sandbox.versions)
        except SandboxGone:  # The code then says so.
            packages = {}
        environment = self._environment
        environment.image, environment.packages = sandbox.image, packages
        environment.memory_mb = sandbox.spec.limits.memory_mb
        if source is not None and source != self._source and self._keep_source is not None:
            self._source = source
            self._background.start_soon(self._keep, source, self._keep_source)

    def code(self, code: str) -> None:
        """Records where the code, which is about to run, sets seeds."""
        seeds = self._environment.seeds
        seeds += [seed for seed in seeds_in(code) if seed not in seeds][: MOST_SEEDS - len(seeds)]

    async def _keep(self, source: str, keep: Callable[[str], Awaitable[str]]) -> None:
        try:
            self._environment.functions = await keep(source)
        except CodeActError as error:
            log.warning("functions not recorded", response=self._response.id, reason=error.message)

    @property
    def _environment(self) -> e.RecordedEnvironment:
        if self._response.environment is None:
            self._response.environment = e.RecordedEnvironment()
        return self._response.environment


def seeds_in(code: str) -> list[str]:
    """Returns the places where code sets the seed of a random generator, such as `np.random.seed(7)`. At most 20."""
    if not any(name in code for name in SEEDERS):
        return []
    found = (match[0] for _, match in zip(range(MOST_SEEDS), SEED.finditer(code), strict=False))
    return list(dict.fromkeys(found))
