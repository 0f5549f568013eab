"""Finds the cluster and our account there: from KUBECONFIG, or from the pod that this process runs in."""

import os
import re
from pathlib import Path
from typing import Any

import yaml
from anyio import to_thread
from kubernetes_asyncio import client, config
from kubernetes_asyncio.config import ConfigException

from sandbox_pool.backends.kubernetes.answers import bounded
from sandbox_pool.errors import EngineUnavailable

__all__ = ["configured"]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOME = Path("~/.kube/config")
FILE_BYTES = 1_000_000
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A label of RFC 1123. The name becomes a part of URLs."""
REMEDY = "Try it by: kubectl get pods."
WRONG_TYPES = (TypeError, KeyError, AttributeError, IndexError)
"""What the client raises for parts of a KUBECONFIG that are missing or of the wrong type."""


async def configured(namespace: str | None) -> tuple[client.Configuration, str]:
    """Returns how the cluster is reached, and the namespace of sandboxes.

    The cluster is the one that KUBECONFIG names; without that variable, the one whose pod we run in; else the one in
    `~/.kube/config`. A `namespace` of None means that of the KUBECONFIG's context, or of our pod. Raises
    `EngineUnavailable`, with the file, what is wrong with it and a remedy.
    """
    configuration = client.Configuration()
    named = os.environ.get("KUBECONFIG")
    what = f"The KUBECONFIG {named or HOME}"
    try:
        if not named and (ACCOUNT / "token").exists():
            config.load_incluster_config(configuration)
            home = (ACCOUNT / "namespace").read_text().strip()
        else:
            await to_thread.run_sync(_check_files, named)
            loader = await config.load_kube_config(named, client_configuration=configuration)
            home = loader.current_context["context"].get("namespace") or "default"
    except WRONG_TYPES as error:
        raise EngineUnavailable(
            f"{what} cannot be used: its context, cluster or user is missing or malformed. {REMEDY}"
        ) from error
    except (ConfigException, ValueError, OSError) as error:  # OSError: a program that it names cannot be run.
        raise EngineUnavailable(f"{what} cannot be used: {bounded(str(error))}. {REMEDY}") from error
    if not str(configuration.host).startswith(("https://", "http://")):
        raise EngineUnavailable(
            f"{what} has a server that is no URL: {bounded(str(configuration.host))!r}. It has to begin with https://."
        )
    chosen = namespace or str(home)
    if not NAMESPACE.fullmatch(chosen):
        raise EngineUnavailable(
            f"{bounded(chosen)!r} cannot be the name of a namespace. Correct CODEACT_KUBERNETES_NAMESPACE, or the"
            " namespace of the KUBECONFIG's context."
        )
    return configuration, chosen


def _check_files(named: str | None) -> None:
    """Raises `EngineUnavailable` for a KUBECONFIG that is missing, empty or malformed, where the client is unclear."""
    paths = [Path(each) for each in (named or str(HOME.expanduser())).split(os.pathsep) if each]
    found = [path for path in paths if path.exists()]
    if not found:
        where = f"KUBECONFIG names {named}, which is not there" if named else f"there is no {HOME}"
        raise EngineUnavailable(
            f"No cluster is configured: {where}, and the server does not run in a pod. Set KUBECONFIG to a file that"
            " works for kubectl."
        )
    for path in found:
        if not path.is_file() or path.stat().st_size > FILE_BYTES:
            raise EngineUnavailable(f"The KUBECONFIG {path} is not a file of at most {FILE_BYTES:,} bytes.")
        try:
            content: Any = yaml.safe_load(path.read_bytes())
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            line = f" (line {mark.line + 1})" if mark is not None else ""
            raise EngineUnavailable(f"The KUBECONFIG {path} is not YAML{line}. {REMEDY}") from error
        if content is None:
            raise EngineUnavailable(
                f"The KUBECONFIG {path} is empty. Set KUBECONFIG to a file that works for kubectl; without it, a server"
                " in a pod uses the pod's account."
            )
        lists = ("clusters", "contexts", "users")
        if not isinstance(content, dict) or not all(isinstance(content.get(each) or [], list) for each in lists):
            raise EngineUnavailable(
                f"The KUBECONFIG {path} is YAML, but not a KUBECONFIG: it has no lists {', '.join(lists)}. {REMEDY}"
            )
