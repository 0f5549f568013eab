"""Removes images that earlier versions built and that nobody has used for a week.

Several servers, of other versions too, may share an engine. An image is theirs, not ours to remove, while a
container is made of it, or while they have started in this week: each start tags its image anew, and the
engine remembers when.
"""

import time
from datetime import datetime

import docker

from sandbox_pool.logs import Logger

__all__ = ["remove_superseded"]

log = Logger(__name__)

KERNEL_LABEL = "codeact.kernel"
"""What an image of ours has; those that users made of it have it too, but other names."""
BUILD_LABEL = "codeact.build"
"""What every layer of a build of ours has."""
UNUSED_S = 7 * 24 * 3600


def remove_superseded(api: docker.APIClient, ours: str, *, build_label: str = BUILD_LABEL) -> None:
    """Blocking. What the engine refuses to remove, since it is in use, stays."""
    repository, _, tag = ours.rpartition(":")
    api.tag(ours, repository, tag)
    for image in api.images(repository, filters={"label": KERNEL_LABEL}):
        for name in image["RepoTags"] or ():
            if name != ours and _unused_s(api, name) > UNUSED_S:
                _remove(api, name)
    # Layers of builds that failed or were cancelled.
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
