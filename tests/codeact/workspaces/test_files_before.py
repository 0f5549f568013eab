"""The files of a checkpoint whose code has run meanwhile are those of the moment before it."""

from codeact.workspaces.files_before import files_as_before
from sandbox_pool import FileInfo, FileList
from sandbox_pool.checkpoint import Blob, Manifest, SavedFile, Unsaved


def saved(path: str, at_s: int, size_bytes: int = 1, part: str = "0" * 64) -> SavedFile:
    return SavedFile(path, 0o644, at_s * 10**9, Blob(size_bytes, (part,)))


def manifest(*files: SavedFile, unsaved: tuple[Unsaved, ...] = ()) -> Manifest:
    return Manifest(
        version=1, python="3.11.0", execution_count=1, files=files, unsaved=unsaved, total_bytes=0, units=(), cwd="."
    )


def listed(*files: tuple[str, int], complete: bool = True) -> FileList:
    return FileList([FileInfo(path, 1, float(at_s)) for path, at_s in files], complete)


def test_files_that_code_made_are_left_out_and_those_it_changed_are_those_of_before() -> None:
    now = manifest(saved("same", 1), saved("new", 9), saved("log", 9), saved("draft", 9))
    since = manifest(saved("log", 2, part="1" * 64), saved("gone", 3), saved("draft", 3))
    found = files_as_before(now, listed(("same", 1), ("log", 2), ("gone", 3), ("draft", 4)), since)
    assert [(file.path, file.modified_ns // 10**9) for file in found.files] == [("same", 1), ("log", 2), ("gone", 3)]
    assert found.files[1].content.parts == ("1" * 64,)
    assert [(each.name, each.reason) for each in found.unsaved] == [("draft", "code changed it while it was saved")]


def test_a_new_file_that_could_not_be_saved_is_not_missed() -> None:
    names = (Unsaved("new", "file", "it cannot be read"), Unsaved("f", "TextIOWrapper", "an open file"))
    found = files_as_before(manifest(unsaved=names), listed(), None)
    assert [each.name for each in found.unsaved] == ["f"]
