"""Translates what the Kubernetes API and its client raise into `SandboxError`s."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.config import ConfigException

from sandbox_pool.backends.kubernetes.answers import bounded, meaning
from sandbox_pool.errors import EngineUnavailable, SandboxError

__all__ = ["translated"]


@contextmanager
def translated(refused: type[SandboxError], *, sandbox_id: str | None = None) -> Iterator[None]:
    """Raises what the client raises as the `SandboxError` it means; `refused` where the cluster gave another answer."""
    try:
        yield
    except ApiException as error:
        retry_after = error.headers.get("Retry-After", "") if error.headers else ""
        found = meaning(int(error.status or 0), _message(error), refused, retry_after)
        found.sandbox_id = sandbox_id
        raise found from error
    except aiohttp.WSServerHandshakeError as error:
        raise meaning(error.status, error.message, refused) from error
    except ConfigException as error:  # An account's token is renewed by a program that the KUBECONFIG names.
        raise EngineUnavailable(f"The KUBECONFIG cannot be used: {error}. Try it by: kubectl get pods.") from error
    except aiohttp.ClientSSLError as error:
        raise EngineUnavailable(
            f"The cluster's certificate is not that of the KUBECONFIG: {bounded(str(error))}. Fetch a new KUBECONFIG."
        ) from error
    except (aiohttp.ClientError, OSError) as error:  # A TimeoutError is an OSError.
        reason = bounded(str(error)) or "it did not answer in time"
        raise EngineUnavailable(
            f"The cluster's API cannot be reached: {reason}. Look at the server's address in the KUBECONFIG, and try:"
            " kubectl cluster-info."
        ) from error


def _message(error: ApiException) -> str:
    try:
        said = json.loads(error.body or b"{}")["message"]
    except (ValueError, KeyError, TypeError):
        said = error.reason
    return str(said)
