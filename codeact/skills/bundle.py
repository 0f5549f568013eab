"""Reads skills: folders with a `SKILL.md`, as files or as a zip archive. All input is untrusted and bounded."""

import io
import re
import stat
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from codeact.errors import InvalidRequest
from codeact.file_names import normal
from codeact.skills.front_matter import front_matter

__all__ = ["ARCHIVE_BYTES", "MOST_FILES", "SKILL_BYTES", "Bundle", "packed", "read_files", "read_zip", "unpacked"]

ARCHIVE_BYTES = 10_000_000
"""The limit for an archive, or for an upload of single files."""
SKILL_BYTES = 20_000_000
"""The limit for the files of one skill together."""
MOST_FILES = 500
MOST_DIRECTORY_BYTES = 500_000
"""The limit for an archive's table of contents: it is read before the entries are counted."""
PATH_CHARS, MOST_LEVELS = 200, 10
MANIFEST = "SKILL.md"
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
DESCRIPTION_CHARS = 1024
END, END_BYTES, LOCATOR = b"PK\x05\x06", 22, b"PK\x06\x07"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked skill. `files` maps relative paths to contents; one is `SKILL.md`."""

    name: str
    description: str
    files: Mapping[str, bytes]


def read_zip(data: bytes, *, param: str = "files") -> Bundle:
    """Reads an archive. Raises `InvalidRequest`, which says what is wrong. Blocks for up to a second."""
    return _bundle(_entries(data, param), param)


def read_files(files: Iterable[tuple[str, bytes]], *, param: str = "files") -> Bundle:
    """Reads single files with their paths. Raises `InvalidRequest`."""
    return _bundle(files, param)


def packed(bundle: Bundle) -> bytes:
    """The skill as an archive, the same for the same files. Blocks."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for path, content in sorted(bundle.files.items()):
            writer.writestr(zipfile.ZipInfo(path, TIME), content, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def unpacked(archive: bytes) -> dict[str, bytes]:
    """The files of an archive that `packed` made. Blocks."""
    with zipfile.ZipFile(io.BytesIO(archive)) as reader:
        return {info.filename: reader.read(info) for info in reader.infolist()}


def _entries(data: bytes, param: str) -> Iterable[tuple[str, bytes]]:
    if len(data) > ARCHIVE_BYTES:
        raise _invalid(f"the archive is over {ARCHIVE_BYTES:,} bytes", param)
    _check_directory(data, param)
    left = SKILL_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [info for info in archive.infolist() if not info.is_dir()]
            if len(entries) > MOST_FILES:
                raise _invalid(f"it has {len(entries):,} files, over {MOST_FILES}", param)
            for info in entries:
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG):
                    raise _invalid(f"'{info.filename[:PATH_CHARS]}' is a link or a device", param)
                if info.flag_bits & 1 or info.compress_type not in METHODS:
                    raise _invalid("entries are encrypted, or compressed by other means than deflate", param)
                with archive.open(info) as entry:
                    content = entry.read(left + 1)
                left -= len(content)
                if left < 0:
                    raise _invalid(f"its files have over {SKILL_BYTES:,} bytes", param)
                yield info.filename, content
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError, struct.error) as why:
        raise _invalid(f"the archive cannot be read: {why}", param) from None
    except Exception as why:  # zlib.error, and whatever else a damaged archive causes.
        if isinstance(why, InvalidRequest):
            raise
        raise _invalid("the archive is damaged", param) from None


def _check_directory(data: bytes, param: str) -> None:
    """Raises `InvalidRequest` if the table of contents is long: `zipfile` makes an object for each of its entries."""
    at = data.rfind(END, max(0, len(data) - END_BYTES - 65_535))
    if at < 0 or at + END_BYTES > len(data):
        raise _invalid("it is not a zip archive", param)
    if data[max(0, at - 20) :][: len(LOCATOR)] == LOCATOR:
        raise _invalid("archives in the format zip64 are not read", param)
    size = int.from_bytes(data[at + 12 : at + 16], "little")
    if size > MOST_DIRECTORY_BYTES:
        raise _invalid("its table of contents is too long", param)


def _bundle(given: Iterable[tuple[str, bytes]], param: str) -> Bundle:
    files: dict[str, bytes] = {}
    size = 0
    for path, content in given:
        if path.startswith("__MACOSX/") or path.rpartition("/")[2] == ".DS_Store":
            continue
        checked = _path(path, param)
        if checked in files:
            raise _invalid(f"'{checked}' is there twice", param)
        files[checked] = content
        size += len(content)
        if len(files) > MOST_FILES or size > SKILL_BYTES:
            raise _invalid(f"it has over {MOST_FILES} files or {SKILL_BYTES:,} bytes", param)
    folders = {path[:at] for path in files for at, character in enumerate(path) if character == "/"}
    if both := folders & files.keys():
        raise _invalid(f"'{min(both)}' is a file and a folder", param)
    if MANIFEST not in files:
        tops = {path.partition("/")[0] for path in files}
        if len(tops) != 1 or f"{next(iter(tops))}/{MANIFEST}" not in files:
            raise _invalid(f"it has no {MANIFEST}, neither at the top nor in its only folder", param)
        files = {path.partition("/")[2]: content for path, content in files.items()}
    fields = front_matter(files[MANIFEST])
    name, description = fields.get("name", ""), fields.get("description", "")
    if not NAME.fullmatch(name):
        raise _invalid(
            f"{MANIFEST} must begin with a front matter whose 'name' has 1 to 64 small letters, digits and hyphens",
            param,
        )
    if not 1 <= len(description) <= DESCRIPTION_CHARS:
        raise _invalid(f"the 'description' in {MANIFEST} must have 1 to {DESCRIPTION_CHARS} characters", param)
    return Bundle(name, description, files)


def _path(path: str, param: str) -> str:
    """A relative path of normalised names. Raises `InvalidRequest`."""
    parts = path.removeprefix("./").split("/")
    if len(path) > PATH_CHARS or len(parts) > MOST_LEVELS or "\\" in path:
        raise _invalid(f"'{path[:PATH_CHARS]}' is too long, too deep, or has backslashes", param)
    try:
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError
        return "/".join(map(normal, parts))
    except ValueError:
        raise _invalid(f"'{path}' is not a path within the skill", param) from None


def _invalid(reason: str, param: str) -> InvalidRequest:
    return InvalidRequest(f"This is no skill: {reason}.", param=param, code="invalid_skill")
