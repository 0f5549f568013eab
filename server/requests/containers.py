"""The options of a container that a request may name: its size, its network, its files, and when it expires."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from codeact.errors import InvalidRequest
from codeact.settings import Settings
from codeact.workspaces.options import ContainerLimits, ContainerOptions, covers
from sandbox_pool.spec import HOST, DomainSecret, Egress

__all__ = [
    "AllowedNetwork",
    "DisabledNetwork",
    "ExpiresAfter",
    "FileIds",
    "MemoryLimit",
    "NetworkPolicy",
    "container_limits",
    "container_options",
]

MOST_DOMAINS, MOST_SECRETS = 100, 32
MemoryLimit = Literal["1g", "4g", "16g", "64g"]
MEMORY_MB: dict[MemoryLimit, int] = {"1g": 1024, "4g": 4096, "16g": 16_384, "64g": 65_536}
FileIds = Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=50)]
Domain = Annotated[str, Meta(min_length=1, max_length=253)]
RESERVED = re.compile(
    r"(LD_|PYTHON|CODEACT_|PIP_|IPYTHON|OMP_|SSL_|CURL_|GIT_|NODE_).*|.*_PROXY|.*_CA_BUNDLE|PATH|HOME|LANG|TMPDIR|SHELL|USER",
    re.IGNORECASE,
)
"""Variables with a meaning of their own in the sandbox."""


class DisabledNetwork(msgspec.Struct, tag="disabled", forbid_unknown_fields=True):
    """No network, also where sandboxes have one (CODEACT_SANDBOX_NETWORK)."""


class SecretOfDomain(msgspec.Struct, forbid_unknown_fields=True):
    """Code finds a placeholder in the environment variable `name`.

    The egress proxy puts `value` in its place, in the headers of HTTPS requests to `domain`. It is neither stored nor
    shown.
    """

    domain: Domain
    name: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$(?!\n)")]
    value: Annotated[str, Meta(min_length=1, max_length=8_192, pattern=r"^[\t -~]*$")]


class AllowedNetwork(msgspec.Struct, tag="allowlist", forbid_unknown_fields=True):
    """HTTP and HTTPS to these hosts, as far as the operator allows them (CODEACT_EGRESS_DOMAINS).

    A name that begins with a dot includes its subdomains.
    """

    allowed_domains: Annotated[list[Domain], Meta(min_length=1, max_length=MOST_DOMAINS)]
    domain_secrets: Annotated[list[SecretOfDomain], Meta(max_length=MOST_SECRETS)] | None = None


NetworkPolicy = DisabledNetwork | AllowedNetwork


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    """How long the container may be unused, up to the operator's limit (CODEACT_IDLE_TIMEOUT_MAX_S)."""

    anchor: Literal["last_active_at"]
    minutes: Annotated[int, Meta(ge=1)]


def container_options(
    memory_limit: MemoryLimit | None,
    network_policy: NetworkPolicy | None,
    settings: Settings,
    *,
    expires_after: ExpiresAfter | None = None,
    embedded: bool = False,
    place: str = "",
) -> ContainerOptions:
    """Raises `InvalidRequest`, naming the parameter below `place`, for what the operator does not allow."""
    return ContainerOptions(
        memory_mb=_memory_mb(memory_limit, settings, place),
        no_network=isinstance(network_policy, DisabledNetwork),
        egress=_egress(network_policy, settings, embedded, place)
        if isinstance(network_policy, AllowedNetwork)
        else None,
        idle_timeout_s=_idle_timeout_s(expires_after, settings) if expires_after is not None else None,
    )


def container_limits(settings: Settings) -> ContainerLimits:
    """What `container_options` allows, for containers that come back."""
    return ContainerLimits(
        max(settings.memory_mb, settings.memory_mb_max or 0),
        settings.egress_domains,
        max(settings.idle_timeout_s, settings.idle_timeout_max_s or 0),
    )


def _memory_mb(limit: MemoryLimit | None, settings: Settings, place: str) -> int | None:
    if limit is None:
        return None
    memory_mb = MEMORY_MB[limit]
    most = max(settings.memory_mb, settings.memory_mb_max or 0)
    if memory_mb != settings.memory_mb and memory_mb > (settings.memory_mb_max or 0):
        raise InvalidRequest(
            f"Sandboxes have {settings.memory_mb} MB here (CODEACT_MEMORY_MB), and at most {most} MB"
            f" (CODEACT_MEMORY_MB_MAX), not {limit}; leave it out.",
            param=f"{place}memory_limit",
        )
    return memory_mb


def _egress(policy: AllowedNetwork, settings: Settings, embedded: bool, place: str) -> Egress:
    param = f"{place}network_policy"
    if embedded:
        raise InvalidRequest("An embedded page cannot allow hosts.", param=param)
    domains = [domain.lower().removesuffix(".") for domain in policy.allowed_domains]
    for at, domain in enumerate(domains):
        _check_domain(domain, settings, f"{param}.allowed_domains[{at}]")
    secrets: dict[str, Any] = {}
    for at, secret in enumerate(policy.domain_secrets or ()):
        own, domain = f"{param}.domain_secrets[{at}]", secret.domain.lower().removesuffix(".")
        if not HOST.fullmatch(domain) or not covers(domains, domain):
            raise InvalidRequest(f"'{secret.domain}' is not among 'allowed_domains'.", param=f"{own}.domain")
        if RESERVED.fullmatch(secret.name):
            raise InvalidRequest(f"'{secret.name}' has a meaning of its own in sandboxes.", param=f"{own}.name")
        if secret.value != secret.value.strip():
            raise InvalidRequest("The value begins or ends with blanks, as no header may.", param=f"{own}.value")
        if secret.name in secrets:
            raise InvalidRequest(f"Two secrets have the name '{secret.name}'.", param=f"{own}.name")
        secrets[secret.name] = DomainSecret(domain, secret.name, secret.value)
    return Egress(tuple(dict.fromkeys(domains)), tuple(secrets.values()))


def _check_domain(domain: str, settings: Settings, param: str) -> None:
    if not HOST.fullmatch(domain):
        raise InvalidRequest(f"'{domain}' is not the name of a host.", param=param)
    if not settings.egress_domains:
        raise InvalidRequest("Containers cannot allow hosts here (CODEACT_EGRESS_DOMAINS).", param=param)
    if not covers(settings.egress_domains, domain):
        allowed = ", ".join(settings.egress_domains)[:500]
        raise InvalidRequest(
            f"'{domain}' is not allowed here; allowed (CODEACT_EGRESS_DOMAINS): {allowed}.", param=param
        )


def _idle_timeout_s(expires: ExpiresAfter, settings: Settings) -> float:
    most_s = max(settings.idle_timeout_s, settings.idle_timeout_max_s or 0)
    if expires.minutes * 60 > most_s and expires.minutes > max(1, most_s // 60):
        raise InvalidRequest(
            f"Containers expire after {max(1, int(most_s // 60))} minutes at most here (CODEACT_IDLE_TIMEOUT_MAX_S).",
            param="expires_after.minutes",
        )
    return expires.minutes * 60.0
