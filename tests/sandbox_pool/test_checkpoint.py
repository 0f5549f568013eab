"""What is accepted as the manifest of a checkpoint, which comes from a sandbox."""

import json
from typing import Any

import pytest

from sandbox_pool.checkpoint import MOST_MANIFEST_BYTES, PART_BYTES, encode_manifest, to_manifest

PART = "0" * 64
BLOB = {"size_bytes": 5, "parts": [PART]}
UNIT = {
    "kind": "values",
    "groups": [{"names": [{"name": "a", "type": "int", "size_bytes": 5}], "pickle_bytes": 5}],
    "stream": BLOB,
}
FILE = {"path": "a/b.txt", "mode": 0o644, "modified_ns": 5, "content": BLOB}


def written(**changes: Any) -> bytes:
    manifest = {"version": 1, "python": "3.12.1", "execution_count": 3, "units": [UNIT], "files": [FILE]}
    return json.dumps({**manifest, **changes}).encode()


def test_a_manifest_is_read_and_written() -> None:
    manifest = to_manifest(written())
    assert to_manifest(encode_manifest(manifest)) == manifest
    assert manifest.parts() == {PART}
    assert [name.name for name in manifest.names()] == ["a"]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"more": 1},
        {"files": [{**FILE, "path": "../a"}]},
        {"files": [{**FILE, "path": "/etc/passwd"}]},
        {"files": [{**FILE, "mode": 0o104755}]},
        {"files": [{**FILE, "content": {"size_bytes": PART_BYTES + 1, "parts": [PART]}}]},
        {"files": [{**FILE, "content": {"size_bytes": 5, "parts": ["../x"]}}]},
        {"units": [{**UNIT, "kind": "more"}]},
        {"units": [{**UNIT, "stream": {"size_bytes": 6, "parts": [PART]}}]},
        {"units": [{**UNIT, "groups": [*UNIT["groups"], {"names": [], "pickle_bytes": 0}], "buffers": [BLOB]}]},  # type: ignore[misc]
        {"cwd": "x" * 5_000},
        {"unsaved": [{"name": "a", "type": "b", "reason": "x" * 2_000}]},
        {"python": "x" * MOST_MANIFEST_BYTES},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        to_manifest(written(**changes))
