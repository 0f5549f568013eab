"""Checks the names of settings that agents and pools in a script accept as arguments."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import asdict, replace
from typing import Any

from codeact import events as e
from codeact.model import Sampling
from codeact.settings import Settings
from sandbox_pool.spec import Limits

__all__ = ["OF_POOLS", "check_settings", "limit_settings", "merged", "reasoning_config"]

OF_SANDBOXES = {
    *("sandbox", "sandbox_image", "sandbox_python", "sandbox_network", "sandbox_runtime", "sandbox_transport"),
    *("sandbox_lifetime_s", "allowed_hosts", "pool_min", "pool_max", "acquire_timeout_s", "execution_timeout_s"),
    *("memory_mb", "cpus", "pids", "workspace_mb", "workspace_inodes", "tmp_mb", "shm_mb", "output_bytes", "file_mb"),
    *("calls", "call_bytes"),
}
OF_POOLS = (OF_SANDBOXES | {"data_dir"}) - {"pool_min", "pool_max"}
OF_MODELS = {name for name in Settings.model_fields if name.startswith("model_")}
OF_AGENTS = (
    OF_SANDBOXES
    | OF_MODELS
    | {"approval", "dialect", "eager", "max_turns", "observation_chars", "mcp_config", "call_timeout_s", "data_dir"}
)
"""All other settings are for a server; an agent would ignore them."""


def check_settings(
    names: Iterable[str], *, arguments: Iterable[str], accepted: Collection[str] = OF_AGENTS, of: str = "An agent"
) -> None:
    """Raises `TypeError` for a name that is not `accepted`; it suggests the most similar of these and `arguments`."""
    for name in names:
        if name in accepted:
            continue
        if name in Settings.model_fields:
            whose = "an agent" if name in OF_AGENTS else "the server"
            raise TypeError(f"{of} does not take {name!r}: that is a setting of {whose}.")
        near = difflib.get_close_matches(name, (*accepted, *arguments), n=1)
        raise TypeError(f"{of} has no argument {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))


def limit_settings(limits: Limits) -> dict[str, Any]:
    """Returns the settings for sandboxes with these limits."""
    values = asdict(limits) | {"sandbox_lifetime_s": limits.lifetime_s}
    return {name: value for name, value in values.items() if name in OF_SANDBOXES}


def merged(single: Sampling, whole: Sampling | None) -> Sampling:
    """Returns `single` with the sampling parameters that `whole` sets."""
    names = ("temperature", "top_p", "max_output_tokens", "reasoning_effort", "seed")
    return replace(single, **{name: value for name in names if (value := getattr(whole, name, None)) is not None})


def reasoning_config(effort: str | None) -> e.ReasoningConfig | None:
    """Returns the field `reasoning` of a request. Any word is accepted: the model's server decides."""
    return None if effort is None else e.ReasoningConfig(effort)  # type: ignore[arg-type]
