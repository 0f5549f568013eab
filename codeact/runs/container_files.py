"""Finds the files that a request puts into its container (`container: {"file_ids": [...]}`)."""

import json
import posixpath
from collections.abc import Sequence
from functools import partial

from codeact.concurrency.concurrently import gathered
from codeact.errors import InvalidRequest, NotFound
from codeact.file_names import distinct
from codeact.runs.input_items import file_name
from codeact.runs.media import Get, content_of, stored_sha256
from codeact.store.run_store import RunStore
from codeact.workspaces.workspace import StagedFile

__all__ = ["container_files", "names_for_model"]


async def container_files(file_ids: Sequence[str], store: RunStore, *, owner: str, get: Get) -> list[StagedFile]:
    """Returns the files with these ids, for the working directory; files with the same name get distinct names.

    Raises `NotFound` and `InvalidRequest`, whose `param` is the place of the id in the request.
    """

    async def find(at: int, file_id: str) -> StagedFile:
        param = f"tools.container.file_ids[{at}]"
        try:
            file = await store.files.file(file_id, owner=owner)
            sha256, name = stored_sha256(file), file_name(posixpath.basename(file.path), param)
        except NotFound as error:
            raise NotFound(error.message, param=param) from None
        except InvalidRequest as error:
            raise InvalidRequest(error.message, param=param) from None
        return StagedFile(name, sha256, partial(content_of, sha256, get))

    files = await gathered([partial(find, at, file_id) for at, file_id in enumerate(file_ids)])
    names = distinct([file.name for file in files])
    return [StagedFile(name, file.sha256, file.load) for name, file in zip(names, files, strict=True)]


def names_for_model(files: Sequence[StagedFile]) -> str | None:
    """Returns a sentence about the files for the model's instructions; None if there are none."""
    listed = ", ".join(json.dumps(file.name, ensure_ascii=False) for file in files)
    return f"The user put these files into the working directory: {listed}." if files else None
