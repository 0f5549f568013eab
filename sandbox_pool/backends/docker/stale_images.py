"""Removes images that earlier versions built and that no server has used for a week.

Several servers of different versions may share an engine. An image is in use while it has a container, or if a
server has started with it within a week: each start tags its image again, and the engine stores the time of that.
"""

import time
from datetime import datetime

import docker

from sandbox_pool.logs import Logger

__all__ = ["remove_superseded"]

log = Logger(__name__)

KERNEL_LABEL = "codeact.kernel"
"""The label of our images. Images that users derived from them have it, too, but other names."""
BUILD_LABEL = "codeact.build"
"""The label of all layers of our builds."""
UNUSED_S = 7 * 24 * 3600


def remove_superseded(api: docker.APIClient, ours: str, *, build_label: str = BUILD_LABEL) -> None:
    """Removes unused images of other versions than `ours`. Blocks. The engine keeps images that are in use."""
    repository, _, tag = ours.rpartition(":")
    api.tag(ours, repository, tag)
    for image in api.images(repository, filters={"label": KERNEL_LABEL}):
        for name in image["RepoTags"] or ():
            if name != ours and _unused_s(api, name) > UNUSED_S:
                _remove(api, name)
    # Remove the layers of builds that failed or were cancelled.
    api.prune_images({"dangling": True, "label": build_label, "until": f"{UNUSED_S}s"})


def _unused_s(api: docker.APIClient, name: str) -> float:
    tagged_at: str = api.inspect_image(name)["Metadata"]["LastTagTime"]
    return time.time() - datetime.fromisoformat(tagged_at).timestamp()


def _remove(api: docker.APIClient, name: str) -> None:
    try:
        api.remove_image(name)
        log.info("superseded image removed", image=name)
    except docker.errors.APIError as error:
        log.info("superseded image kept", image=name, reason=error.explanation)
