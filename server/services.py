"""The services of one application, for its routes and transports."""

from dataclasses import dataclass, field

from codeact.component import Component
from codeact.metrics import Metrics
from codeact.models.registry import ModelRegistry
from codeact.runs.disk_floor import DiskFloor
from codeact.runs.held_bytes import ConnectionMemory
from codeact.runs.manager import RunManager
from codeact.server.audited_service import AuditedService
from codeact.server.auth.audit_log import AuditLog
from codeact.server.auth.header_login import HeaderLogin
from codeact.server.auth.key_uses import KeyUses
from codeact.server.auth.open_requests import OpenRequests
from codeact.server.chat_memory import ChatMemory
from codeact.server.idempotency import IdempotencyKeys
from codeact.server.login.provider import Provider
from codeact.server.peers.client import Peers
from codeact.server.probe import Probe
from codeact.server.requests.upload_slots import UploadSlots
from codeact.server.watchdog import Watchdog
from codeact.settings import Settings
from codeact.store import Store
from codeact.tools.mcp import McpServers
from codeact.verification.verifier import Verifier
from codeact.workspaces.checkpoints import Checkpoints
from codeact.workspaces.containers import Containers
from codeact.workspaces.registry import Workspaces
from sandbox_pool import SandboxPool
from sandbox_pool.supervision import Supervisor

__all__ = ["Services"]


@dataclass(frozen=True, slots=True)
class Services:
    """The components, which may still be starting, and the service that uses them.

    Each application has one, at `app.state.codeact`.
    """

    settings: Settings
    store: Component[Store]
    pool: Component[SandboxPool]
    models: Component[ModelRegistry]
    workspaces: Workspaces
    runs: RunManager
    service: AuditedService
    audit: AuditLog
    mcp: McpServers
    containers: Containers
    supervisor: Supervisor
    watchdog: Watchdog
    probe: Probe
    disk: DiskFloor
    metrics: Metrics
    open_requests: OpenRequests
    key_uses: KeyUses
    header_login: HeaderLogin | None
    provider: Provider | None
    peers: Peers | None
    chats: ChatMemory
    verifier: Verifier
    checkpoints: Checkpoints
    worker: int = 0
    uploads: UploadSlots = field(default_factory=UploadSlots)
    idempotency: IdempotencyKeys = field(default_factory=IdempotencyKeys)
    memory: ConnectionMemory = field(default_factory=ConnectionMemory)
