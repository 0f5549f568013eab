"""Turns stored and exported conversations into drafts of tasks: the questions up to an answer that was bad.

A draft has no checker yet. Somebody has to write what the answer should have been; `codeact eval` refuses it until
then.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import anyio

from codeact import events as e
from codeact.api.result import answer_of
from codeact.errors import ConfigurationError
from codeact.evals.forms.jsonl import JsonTask
from codeact.exports import read_archive
from codeact.observations.plaintext import excerpt
from codeact.store.records import StoredResponse

__all__ = ["draft", "exported_drafts"]

EXPORT_BYTES = 100_000_000
NOTE_CHARS = 1_000


async def exported_drafts(path: Path) -> list[JsonTask]:
    """Returns a draft for the last answer of a conversation that `codeact export --format json` or the dashboard wrote.

    Raises `ConfigurationError` if the file is too large, and `InvalidRequest` if it is no such conversation.
    """
    if (await anyio.Path(path).stat()).st_size > EXPORT_BYTES:
        raise ConfigurationError(f"{path} has more than {EXPORT_BYTES:,} bytes.")
    archive = await anyio.to_thread.run_sync(lambda: read_archive(path.read_bytes()))
    responses = [StoredResponse(one.response, one.input) for one in archive.responses]
    thread = _branch(responses, archive.conversation.last_response_id)
    return [draft(thread, name=path.stem)] if thread else []


def draft(thread: Sequence[StoredResponse], *, name: str, comment: str | None = None) -> JsonTask:
    """Returns a draft for the last answer of a thread: all questions of the user's up to it."""
    questions, files = [], []
    for stored in thread:
        for message in stored.input:
            if isinstance(message, e.InputMessage) and message.role == "user":
                questions.append(
                    "\n".join(part["text"] for part in message.content if part.get("type") == "input_text")
                )
                files += [str(part.get("filename")) for part in message.content if part.get("type") == "input_file"]
    note = [f"The answer was: {excerpt(answer_of(thread[-1].response), NOTE_CHARS)}"]
    if comment:
        note.insert(0, f"Comment: {excerpt(comment, NOTE_CHARS)}")
    if files:
        note.append(f'Add the files {", ".join(files[:20])} under "files".')
    return JsonTask(
        id="".join(char if char.isascii() and (char.isalnum() or char in "._-") else "-" for char in name)[:120],
        prompt=[question for question in questions if question.strip()] or [""],
        check=None,
        tags=["conversation"],
        note="\n".join(note),
    )


def _branch(responses: Iterable[StoredResponse], last_id: str | None) -> list[StoredResponse]:
    """The responses from the beginning to `last_id`; without that, to the last one."""
    by_id = {stored.response.id: stored for stored in responses}
    at = last_id if last_id in by_id else next(reversed(by_id), None)
    branch = []
    while at is not None and at in by_id:
        stored = by_id.pop(at)
        branch.append(stored)
        at = stored.response.previous_response_id
    return branch[::-1]
