"""Verifies a stored answer: runs its code again in a fresh sandbox, compares the outputs, and stores a certificate."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from codeact.component import Component
from codeact.errors import RateLimited
from codeact.events.certificates import Certificate
from codeact.runs.admission import Admission, check_concurrency
from codeact.runs.manager import RunManager
from codeact.runs.new_run import Account
from codeact.store import StoredResponse
from codeact.verification.errors import NotVerifiable
from codeact.verification.plan import plan
from codeact.verification.verification import Progress, Verification
from codeact.workspaces.registry import Workspaces
from sandbox_pool import SandboxPool

if TYPE_CHECKING:
    from codeact.store import Store

__all__ = ["Verifier"]

MOST_AT_ONCE, MOST_PER_OWNER = 4, 2
"""How many answers this process verifies at once, in all and for one owner."""


class Verifier:
    """Verifies answers with these components. Any number of tasks may call it."""

    def __init__(
        self,
        store: "Component[Store]",
        pool: Component[SandboxPool],
        workspaces: Workspaces,
        runs: RunManager,
        *,
        timeout_s: float,
    ) -> None:
        self._store = store
        self._pool = pool
        self._workspaces = workspaces
        self._runs = runs
        self._timeout_s = timeout_s
        self._running: Counter[str] = Counter()

    async def verify(
        self,
        response_id: str,
        *,
        accounts: Sequence[Account],
        tolerance: float,
        progress: Progress = lambda number, count: None,
    ) -> Certificate:
        """Runs the answer's code again, compares, and stores and returns the certificate.

        `accounts` are those that an answer of the caller counts for, the owner first: a verification counts as one
        response. Cancelling it stops the code and releases the sandbox. Raises `NotFound`, `NotVerifiable`,
        `RateLimited`, `StorageQuotaExceeded` and `SandboxError`.
        """
        owner = accounts[0][0]
        self._check_run(response_id, owner)
        store = await self._store.get()
        stored = await store.get_response(response_id, owner=owner)
        if stored.response.status in ("queued", "in_progress"):
            raise _under_way(response_id)
        check_concurrency(accounts, live_of=lambda one: self._runs.live_of(one) + self._running[one])
        with self._counted(accounts):
            async with Admission.open(accounts, store) as admission:
                if admission.has_limits:
                    await admission.ask()
                thread = await store.thread(response_id, owner=owner)
                _check_complete(thread)
                blocks = await anyio.to_thread.run_sync(plan, thread)
            verification = Verification(
                thread, blocks, store, self._pool, self._workspaces, owner=owner, tolerance=tolerance
            )
            try:
                with anyio.fail_after(self._timeout_s):
                    certificate = await verification.run(progress)
            except TimeoutError:
                raise NotVerifiable(
                    f"Running the code again took longer than {self._timeout_s:g} s (CODEACT_VERIFY_TIMEOUT_S).",
                    code="verification_timeout",
                ) from None
        conversation = thread[-1].response.conversation
        if conversation is not None:
            await store.certificates.put(certificate, conversation_id=conversation.id, owner=owner)
        return certificate

    def _check_run(self, response_id: str, owner: str) -> None:
        """Raises `NotVerifiable` for a response that runs here, and for one that is not stored, while it is known."""
        run = self._runs.find(response_id, owner=owner)
        if run is None:
            return
        if not run.response.store:
            raise NotVerifiable("The response is not stored ('store' is false).", code="response_not_stored")
        if run.response.status in ("queued", "in_progress"):
            raise _under_way(response_id)

    @contextmanager
    def _counted(self, accounts: Sequence[Account]) -> Iterator[None]:
        owners = {owner for owner, _ in accounts}
        busiest = max(self._running[owner] for owner in owners)
        if busiest >= MOST_PER_OWNER or self._running[""] >= MOST_AT_ONCE:
            raise RateLimited(
                f"{self._running['']} answers are being verified, and no more may be at once ({MOST_PER_OWNER} of one"
                f" owner, {MOST_AT_ONCE} in all). Try again when one has ended.",
                code="too_many_verifications",
                retry_after_s=1,
            )
        counts = Counter([*owners, ""])
        self._running += counts
        try:
            yield
        finally:
            self._running -= counts


def _under_way(response_id: str) -> NotVerifiable:
    return NotVerifiable(f"The response '{response_id}' has not ended yet.", code="response_in_progress")


def _check_complete(thread: Sequence[StoredResponse]) -> None:
    """Raises `NotVerifiable` if an earlier answer was deleted."""
    for stored in thread[:-1]:
        if stored.is_deleted:
            raise NotVerifiable(
                f"The earlier answer '{stored.response.id}' was deleted, and this one may depend on it.",
                code="earlier_answer_deleted",
            )
