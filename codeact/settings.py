"""The settings: reads the environment, `.env` and arguments once, and validates them.

Nothing else in the project reads the environment. Each field is also the variable `CODEACT_<FIELD>`.
"""

import difflib
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from platformdirs import user_data_path
from pydantic import AfterValidator, Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from codeact.checkpoint_settings import CheckpointSettings
from codeact.dialect.base import Name
from codeact.disclosure import Disclosure
from codeact.errors import ConfigurationError
from codeact.login_settings import LoginSettings
from codeact.models.model_options import ModelOptions, options_of
from codeact.origins import exact_origin
from codeact.tools.approval import ApprovalPolicy, policy_of
from sandbox_pool.backends.registry import backend_names
from sandbox_pool.spec import Limits, PodOptions, SandboxSpec

__all__ = ["Settings", "port_of", "with_port"]

PREFIX = "CODEACT_"
SECRET_NAMES = ("_API_KEY", "_API_TOKEN", "_ACCESS_TOKEN", "_AUTH_TOKEN", "_SECRET", "_SECRET_KEY", "_PASSWORD")
"""How the names of environment variables with a provider's secrets end."""


PEER_URL = re.compile(r"https?://([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?/?")
SECRET_CHARS = 32
MOST_PORT = 65_535

Origins = Annotated[tuple[Annotated[str, AfterValidator(exact_origin)], ...], NoDecode]
Networks = Annotated[tuple[IPvAnyNetwork, ...], NoDecode]
Modules = Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")], ...], NoDecode]


def port_of(url: str) -> int:
    """The port at the end of a checked peer URL; 0 if it names none."""
    digits = re.search(r":([0-9]{1,5})/?$", url)
    return int(digits[1]) if digits else 0


def with_port(url: str, port: int) -> str:
    """A checked peer URL with another port."""
    return re.sub(r":[0-9]{1,5}/?$", f":{port}", url)


class Settings(CheckpointSettings, LoginSettings):
    """All settings. Times are in seconds, sizes in megabytes. Use `Settings.load`, whose errors say what is wrong."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=128, description="Server processes; they share the pool's sizes.")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    require_keys: bool | None = Field(
        default=None, description="Unset: with CODEACT_API_KEYS, or on an address that is not loopback."
    )
    public_url: str | None = Field(default=None, description="The address that clients use, if a proxy is in front.")
    trusted_proxies: Networks = Field(
        default=(), description="Addresses and networks of the proxies whose X-Forwarded-For is trusted."
    )
    allow_unauthenticated: bool = Field(
        default=False, description="Serve without keys on an address that is not loopback."
    )
    allow_unisolated: bool = Field(
        default=False, description="Serve plain local processes on an address that is not loopback."
    )
    allowed_origins: Origins = ()
    embed_origins: Origins = Field(default=(), description="Origins of the pages that may embed the chat; unset: none.")
    embed_anonymous: bool = Field(default=False, description="Visitors of those pages need no token from a backend.")
    embed_anonymous_sessions_per_minute: int | None = Field(default=None, ge=1, description="For all visitors.")
    embed_anonymous_responses_per_minute: int | None = Field(default=None, ge=1, description="For one visitor.")
    embed_anonymous_tokens_per_day: int | None = Field(default=None, ge=1, description="For one visitor.")
    embed_anonymous_tokens_per_day_in_all: int | None = Field(default=None, ge=1, description="For all visitors.")
    peer_url: str | None = Field(
        default=None, description="Where the other servers of the database reach this one; unset: there are none."
    )
    peer_secret: SecretStr | None = Field(
        default=None, description="With it the servers of one database know each other: the same for all of them."
    )
    url: str | None = Field(default=None, description="The server that `codeact run` and `codeact chat` talk to.")

    model: str | None = Field(default=None, description="A litellm name, or `demo`; unset: look on loopback.")
    models: Annotated[tuple[str, ...], NoDecode] = Field(default=(), description="More models, to choose from.")
    model_aliases: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Other names for models: `gpt-4o=openai/qwen3`, or `gpt-4o` for the default model."
    )
    model_api_base: str | None = None
    model_api_key: SecretStr | None = None
    model_first_token_timeout_s: float = Field(default=120.0, gt=0)
    model_token_timeout_s: float = Field(default=30.0, gt=0)
    model_retries: int = Field(default=2, ge=0)
    model_max_output_tokens: int = Field(
        default=65_536, ge=100, description="Per call; a token has about 4 characters."
    )
    dialect: Literal["auto", "tags", "tool_call", "freeform"] = Field(
        default="auto", description="How models act, if they can; auto: by their profiles."
    )
    model_images: bool | None = Field(
        default=None, description="Whether models see the images that code displayed; unset: by their profiles."
    )
    eager: bool = Field(
        default=False, description="Run the complete statements of a block while the model writes the next ones."
    )
    drop_params: bool = Field(
        default=False, description="Leave out, with a notice, what a request asks of its model and that does not take."
    )
    code_items: Literal["auto", "always", "asked"] = Field(
        default="auto",
        description="Which answers have items of code: those to requests that may know them (auto), that ask, or all.",
    )
    max_turns: int = Field(default=20, ge=1)
    model_calls: Literal["never", "request", "always"] = Field(
        default="request", description="For code: ask(), agent()."
    )
    model_calls_number: int = Field(default=100, ge=1, description="Model calls by the code of one answer.")
    model_calls_tokens: int = Field(default=200_000, ge=1, description="Tokens of these calls.")
    model_calls_usd: float | None = Field(default=None, gt=0, description="Price of these calls; unset: no limit.")
    observation_chars: int = Field(default=12_000, ge=500)

    request_mcp: Literal["public", "any", "off"] = Field(
        default="public", description="Which MCP servers a request may name."
    )
    mcp_config: Path | None = Field(default=None, description="A JSON file that names MCP servers.")
    call_timeout_s: float = Field(default=300.0, gt=0, description="Longest wait for a function outside of a sandbox.")
    verify_timeout_s: float = Field(default=600.0, gt=0, description="Longest verification of an answer.")

    approval: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="The rules for code and calls that wait for approval, such as `destructive,network`."
    )
    approval_judge: str | None = Field(
        default=None, description="`module:function` that decides before a person is asked."
    )
    approval_expires_s: float = Field(
        default=604_800.0,
        gt=0,
        description="How long something may wait for approval, or for a function of the client.",
    )
    approval_standing: bool = Field(default=True, description="Whether an approval may hold for a whole conversation.")
    approval_embed: bool = Field(default=False, description="Whether visitors of embedding pages may approve.")

    sandbox: str = Field(
        default="auto",
        description="auto, docker, process, kubernetes, or the name of a backend that an installed package adds.",
    )
    sandbox_image: str | None = None
    sandbox_python: str | None = None
    sandbox_network: Literal["none", "internal", "open"] = "none"
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(default=(), description="For the network `internal`.")
    sandbox_runtime: str | None = Field(
        default=None, description="Of the Docker engine, or the cluster; unset: its default."
    )
    sandbox_transport: Literal["auto", "directory", "engine"] = "auto"
    sandbox_preload: Modules = Field(
        default=("numpy", "pandas"), description="Modules that a sandbox imports before it counts as warm."
    )
    kubernetes_namespace: str | None = Field(
        default=None, description="Of sandboxes; unset: that of the KUBECONFIG, or of the server's own pod."
    )
    kubernetes_owner: str | None = Field(
        default=None, description="NAME/UID of the pod that the server runs in: its sandboxes go with it."
    )
    kubernetes_node_selector: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Labels of the nodes that sandboxes may use: LABEL=VALUE,…"
    )
    kubernetes_tolerations: str = Field(default="[]", description="Of sandboxes: a JSON list, as in a pod.")
    kubernetes_pull_secrets: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Secrets with which the image of sandboxes is pulled."
    )
    kubernetes_priority_class: str | None = Field(default=None, description="The PriorityClass of sandboxes.")
    kubernetes_pending_timeout_s: float = Field(
        default=30.0, gt=0, description="How long a sandbox may wait for room on a node."
    )
    kubernetes_provisioner: Literal["auto", "pods", "agent-sandbox"] = Field(
        default="auto",
        description="Who creates pods: the server, or an agent-sandbox warm pool. `auto`: that pool if it exists.",
    )
    kubernetes_warm_pool: str | None = Field(
        default=None, description="The SandboxWarmPool from which sandboxes are claimed."
    )
    pool_min: int = Field(default=2, ge=0)
    pool_max: int = Field(default=16, ge=1)
    sandboxes_per_owner: int | None = Field(default=None, ge=1, description="Unset: as many as there are.")
    acquire_timeout_s: float = Field(default=60.0, gt=0)
    execution_timeout_s: float = Field(default=60.0, gt=0)
    memory_mb: int = Field(default=1024, ge=128)
    memory_mb_max: int | None = Field(
        default=None, ge=128, description="The most that a request may ask for; unset: what all sandboxes have."
    )
    warm_memory: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Sandboxes of other sizes that are kept warm: `4g:1,16g:1`."
    )
    egress_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Hosts that a request may let its container reach; `*`: all public ones."
    )
    egress_private: bool = Field(default=False, description="Whether these hosts may have private addresses.")
    cpus: float = Field(default=1.0, gt=0)
    pids: int = Field(default=256, ge=16)
    workspace_mb: int = Field(default=512, ge=8)
    workspace_inodes: int = Field(default=65_536, ge=100)
    tmp_mb: int = Field(default=256, ge=8)
    shm_mb: int = Field(default=64, ge=1)
    output_bytes: int = Field(default=10_000_000, ge=10_000)
    file_mb: int = Field(default=512, ge=1)
    calls: int = Field(default=1_000, ge=1, description="Of functions outside of the sandbox, per block of code.")
    call_bytes: int = Field(default=32_000_000, ge=100_000, description="Arguments and values of these calls.")
    idle_timeout_s: float = Field(default=900.0, gt=0)
    idle_timeout_max_s: float | None = Field(
        default=None, gt=0, description="The most that a container may ask for; unset: `CODEACT_IDLE_TIMEOUT_S`."
    )
    sandbox_lifetime_s: float = Field(default=86_400.0, gt=0)

    data_dir: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = Field(
        default_factory=lambda: user_data_path("codeact")
    )
    mongodb_uri: SecretStr | None = None
    responses_per_minute: int | None = Field(default=None, ge=1, description="Per owner; unset: no limit.")
    concurrent_responses: int | None = Field(default=None, ge=1, description="Per owner; unset: no limit.")
    tokens_per_day: int | None = Field(default=None, ge=1, description="Per owner; unset: no limit.")
    stored_mb: int | None = Field(default=None, ge=1, description="Per owner; unset: no limit.")
    min_free_disk_mb: int = Field(default=512, ge=0, description="With less, nothing new is stored; 0: no minimum.")
    sharing: bool = Field(default=True, description="Whether owners may make links that need no key.")
    deleted_retention_days: float = Field(
        default=30.0, ge=0, description="How long a deleted conversation can be restored."
    )
    webhooks: Path | None = Field(
        default=None, description="A JSON file that names the URLs that are told when a response has ended."
    )
    drain_s: float = Field(default=20.0, ge=0)
    lease_s: float = Field(
        default=6.0, ge=1, description="How long a server may be silent before other servers end its answers."
    )
    max_concurrent_runs: int = Field(default=200, ge=1)
    max_queued_runs: int = Field(
        default=0, ge=0, description="Requests that may wait for one of these places; 0: they are refused."
    )
    max_message_bytes: int = Field(default=8_000_000, ge=10_000)
    max_upload_bytes: int = Field(default=50_000_000, ge=10_000, description="Of one file at `/v1/files`.")
    waiting_connections_per_client: int = Field(
        default=200, ge=1, description="Connections of one address that may wait without a complete request."
    )
    open_requests_per_owner: int = Field(
        default=2_000, ge=1, description="Requests, streams and sockets of one owner that may be open at once."
    )
    events_ttl_s: float = Field(default=86_400.0, gt=0, description="How long the events of a response can be resumed.")
    store_patience_s: float = Field(default=60.0, gt=0, description="Longest wait of an answer for the database.")
    log_format: Literal["auto", "json"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] | None = Field(
        default=None, description="Unset: `warning` at a terminal, otherwise `info`."
    )

    @field_validator("sandbox")
    @classmethod
    def _is_backend(cls, value: str) -> str:
        if value not in ("auto", "docker", "process", "kubernetes") and value not in (names := backend_names()):
            raise ValueError(f"must be auto or the name of a backend that is installed: {', '.join(names)}")
        return value

    @field_validator(
        "api_keys",
        "approval",
        "allowed_origins",
        "allowed_hosts",
        "egress_domains",
        "embed_origins",
        "kubernetes_node_selector",
        "kubernetes_pull_secrets",
        "model_aliases",
        "models",
        "sandbox_preload",
        "trusted_proxies",
        "warm_memory",
        mode="before",
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator(
        "approval_judge",
        "model",
        "model_api_base",
        "mongodb_uri",
        "sandbox_image",
        "sandbox_python",
        "sandbox_runtime",
        "kubernetes_namespace",
        "kubernetes_owner",
        "kubernetes_priority_class",
        "kubernetes_warm_pool",
        "url",
        "peer_url",
        "peer_secret",
        "public_url",
        "mcp_config",
        "webhooks",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if value == "" else value

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Reads the settings from arguments (None: not given), then the environment, then `.env`.

        Raises `ConfigurationError`, which names the variable, for an unknown `CODEACT_*` name or an invalid value.
        """
        known = {PREFIX + name.upper() for name in cls.model_fields}
        for name in (*os.environ, *dotenv_values(".env")):
            if name.upper().startswith(PREFIX) and name.upper() not in known:
                near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.5)
                raise ConfigurationError(
                    f"{name} is not a setting." + (f" Did you mean {near[0]}?" if near else ""), param=name
                )
        try:
            settings = cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = PREFIX + str(first["loc"][0]).upper() if first["loc"] else PREFIX
            reason = first["msg"].removeprefix("Value error, ")
            raise ConfigurationError(f"{name} is not valid: {reason}.", param=name) from None
        if settings.pool_min > settings.pool_max:
            raise ConfigurationError(
                f"CODEACT_POOL_MIN ({settings.pool_min}) is above CODEACT_POOL_MAX ({settings.pool_max}).",
                param="CODEACT_POOL_MIN",
            )
        settings._check_anonymous_use()
        settings._check_peers()
        settings._check_workers()
        problem = settings.login_problem(
            public_url=settings.public_url, host=settings.host, proxies=bool(settings.trusted_proxies)
        )
        if problem is not None:
            raise ConfigurationError(f"{problem[0]} {problem[1]}; docs/access.md has examples.", param=problem[0])
        checked = (
            ("model_options", "CODEACT_MODELS"),
            ("aliases", "CODEACT_MODEL_ALIASES"),
            ("approval_policy", "CODEACT_APPROVAL"),
            ("pod_options", "CODEACT_KUBERNETES_*"),
            ("sandbox_spec", "CODEACT_ALLOWED_HOSTS"),
            ("warm_memory_mb", "CODEACT_WARM_MEMORY"),
        )
        for field, name in checked:
            try:
                getattr(settings, field)
            except ValueError as error:
                raise ConfigurationError(f"{name} is not valid: {error}.", param=name) from None
        return settings

    def _check_anonymous_use(self) -> None:
        if not self.embed_anonymous:
            return
        quotas = [name for name in type(self).model_fields if name.startswith("embed_anonymous_")]
        for name in ("embed_origins", *quotas):
            if not getattr(self, name):
                variable = PREFIX + name.upper()
                text = f"CODEACT_EMBED_ANONYMOUS=true lets anybody in, and needs {variable}; docs/embed.md says why."
                raise ConfigurationError(text, param=variable)

    def _check_peers(self) -> None:
        if (self.peer_url is None) != (self.peer_secret is None):
            lacking = "CODEACT_PEER_URL" if self.peer_url is None else "CODEACT_PEER_SECRET"
            text = f"{lacking} is missing: several servers of one database need both; docs/servers.md says how."
            raise ConfigurationError(text, param=lacking)
        if self.peer_url is not None and not PEER_URL.fullmatch(self.peer_url):
            text = f"CODEACT_PEER_URL is '{self.peer_url[:200]}'; it must be http(s)://HOST:PORT, without a path."
            raise ConfigurationError(text, param="CODEACT_PEER_URL")
        if self.peer_secret is not None and len(self.peer_secret.get_secret_value()) < SECRET_CHARS:
            text = f"CODEACT_PEER_SECRET needs {SECRET_CHARS} characters at least: `openssl rand -hex 32` makes some."
            raise ConfigurationError(text, param="CODEACT_PEER_SECRET")

    def _check_workers(self) -> None:
        if self.workers > self.pool_max:
            text = (
                f"CODEACT_WORKERS ({self.workers}) is above CODEACT_POOL_MAX ({self.pool_max}): each needs a sandbox."
            )
            raise ConfigurationError(text, param="CODEACT_WORKERS")
        if (
            self.workers > 1
            and self.peer_url is not None
            and not 0 < port_of(self.peer_url) <= MOST_PORT - self.workers
        ):
            text = (
                "CODEACT_PEER_URL must end with a port if there are several workers, which take the ports after it:"
                f" '{self.peer_url}' does not, or there are fewer than {self.workers} after it."
            )
            raise ConfigurationError(text, param="CODEACT_PEER_URL")

    @property
    def shares_database(self) -> bool:
        """Whether other servers may use the database, so that what clients rely on must not be in one process alone."""
        return self.mongodb_uri is not None or self.peer_url is not None

    @property
    def served_models(self) -> tuple[str, ...]:
        """The names of the configured models, the default first: `model`, then `models`."""
        return tuple(self.model_options)

    @cached_property
    def model_options(self) -> dict[str, ModelOptions]:
        """The configured options of each model, by its name."""
        configured = map(options_of, filter(None, (self.model, *self.models)))
        found: dict[str, ModelOptions] = {}
        for name, options in configured:
            found[name] = found[name] if found.get(name, ModelOptions()) != ModelOptions() else options
        return found

    @property
    def aliases(self) -> dict[str, str]:
        """The model's name for each alias; empty for the default model. Raises `ValueError`."""
        pairs = [(alias.strip(), name.strip()) for alias, _, name in (one.partition("=") for one in self.model_aliases)]
        if not all(alias for alias, _ in pairs):
            raise ValueError("an alias is missing before '='")
        return dict(pairs)

    def options_of(self, model: str) -> ModelOptions:
        """The configured options of this model."""
        return self.model_options.get(model, ModelOptions())

    @cached_property
    def approval_policy(self) -> ApprovalPolicy:
        """The operator's policy. Raises `ValueError`, naming a rule that does not exist."""
        return policy_of(self.approval)

    @property
    def preferred_dialect(self) -> Name | None:
        return None if self.dialect == "auto" else self.dialect

    @cached_property
    def disclosure(self) -> Disclosure:
        """Removes every secret of these settings, and the providers' secrets in the environment, from errors."""
        values = [getattr(self, name) for name in type(self).model_fields]
        flat = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
        secrets = [one.get_secret_value() for one in flat if isinstance(one, SecretStr)]
        secrets += [value for name, value in os.environ.items() if name.upper().endswith(SECRET_NAMES)]
        uri = self.mongodb_uri.get_secret_value() if self.mongodb_uri is not None else None
        urls = filter(None, (self.model_api_base, uri))
        return Disclosure.of(secrets=secrets, urls=urls, paths=[str(self.data_dir)])

    @property
    def warm_memory_mb(self) -> dict[int, int]:
        """How many sandboxes of other sizes are kept warm, by their megabytes. Raises `ValueError`."""
        found: dict[int, int] = {}
        for one in self.warm_memory:
            size, _, number = one.partition(":")
            gigabytes = size.strip().lower().removesuffix("g")
            if gigabytes not in ("1", "4", "16", "64") or not re.fullmatch("[0-9]{1,3}", number.strip() or "1"):
                raise ValueError(f"'{one[:40]}' is not a size and a number, such as 4g:1")
            if int(gigabytes) * 1024 > (self.memory_mb_max or 0):
                raise ValueError(f"{size} is over CODEACT_MEMORY_MB_MAX")
            found[int(gigabytes) * 1024] = int(number.strip() or "1")
        return {memory_mb: number for memory_mb, number in found.items() if memory_mb != self.memory_mb}

    @property
    def pod_options(self) -> PodOptions:
        """Raises `ValueError`, naming what cannot be read."""
        selector = [label.partition("=") for label in self.kubernetes_node_selector]
        if not all(name and equals for name, equals, _ in selector):
            raise ValueError("a node selector is LABEL=VALUE,…")
        owner = None
        if self.kubernetes_owner is not None:
            name, slash, uid = self.kubernetes_owner.partition("/")
            if not (name and slash and uid):
                raise ValueError("an owner is the pod's NAME/UID")
            owner = (name, uid)
        return PodOptions(
            namespace=self.kubernetes_namespace,
            owner=owner,
            node_selector=tuple((name, value) for name, _, value in selector),
            tolerations=self.kubernetes_tolerations,
            pull_secrets=self.kubernetes_pull_secrets,
            priority_class=self.kubernetes_priority_class,
            pending_timeout_s=self.kubernetes_pending_timeout_s,
            provisioner=self.kubernetes_provisioner,
            warm_pool=self.kubernetes_warm_pool,
        )

    @property
    def sandbox_spec(self) -> SandboxSpec:
        return SandboxSpec(
            image=self.sandbox_image,
            python=self.sandbox_python,
            network=self.sandbox_network,
            allowed_hosts=self.allowed_hosts,
            egress_private=self.egress_private,
            runtime=self.sandbox_runtime,
            transport=self.sandbox_transport,
            preload=self.sandbox_preload,
            pods=self.pod_options,
            limits=Limits(
                execution_timeout_s=self.execution_timeout_s,
                memory_mb=self.memory_mb,
                cpus=self.cpus,
                pids=self.pids,
                workspace_mb=self.workspace_mb,
                workspace_inodes=self.workspace_inodes,
                tmp_mb=self.tmp_mb,
                shm_mb=self.shm_mb,
                output_bytes=self.output_bytes,
                file_mb=self.file_mb,
                calls=self.calls,
                call_bytes=self.call_bytes,
                lifetime_s=self.sandbox_lifetime_s,
            ),
        )
