"""Ranges of stored and of large files over HTTP: exactly the requested bytes, in pieces."""

import hashlib
import random
from collections.abc import Iterator

import httpx
import pytest

from codeact.server.requests.ranges import RangeNotSatisfiable, wanted_range
from tests.server.conftest import Running

CONTENT = random.Random(1).randbytes(4_500_000)
"""A blob of three parts."""
SIZE = len(CONTENT)

WANTED = {
    "bytes=0-0": (0, 1),
    "bytes=1999990-2000009": (1_999_990, 2_000_010),
    "bytes=4000000-": (4_000_000, SIZE),
    "bytes=-10": (SIZE - 10, SIZE),
    "bytes=100-99999999999999999": (100, SIZE),
    "bytes=-99999999999999999": (0, SIZE),
}
WHOLE = ["bytes=0-1,5-6", "bytes=-", "bytes=5-4", "lines=1-2", "bytes=x-1", "bytes=" + "9" * 5000 + "-", "bytes=²-"]
BEYOND = [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0"]


@pytest.mark.parametrize(("header", "place"), WANTED.items())
def test_one_range_is_understood(header: str, place: tuple[int, int]) -> None:
    assert wanted_range(header, SIZE) == place


@pytest.mark.parametrize("header", [None, *WHOLE])
def test_what_is_not_one_range_of_bytes_stands_for_the_whole_file(header: str | None) -> None:
    assert wanted_range(header, SIZE) is None


@pytest.mark.parametrize("header", BEYOND)
def test_a_range_beyond_the_end_is_refused(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        wanted_range(header, SIZE)


@pytest.fixture(scope="module")
def http(demo: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo.url, trust_env=False, timeout=60) as client:
        yield client


def uploaded(http: httpx.Client) -> str:
    """The URL of the content of a file."""
    container = http.post("/v1/containers", json={"name": "ranges"}).json()["id"]
    answer = http.post(f"/v1/containers/{container}/files", files={"file": ("data.bin", CONTENT)})
    assert answer.status_code == 200, answer.text
    return f"/v1/containers/{container}/files/{answer.json()['id']}/content"


@pytest.fixture(scope="module")
def urls(http: httpx.Client) -> dict[str, str]:
    """A file whose content is in the database, its blob, and a file that only its sandbox has."""
    kept = uploaded(http)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codeact.workspaces.containers.STORED_FILE_BYTES", 1000)
        patch.setattr("codeact.server.routes.containers.STORED_FILE_BYTES", 1000)
        large = uploaded(http)
    return {"kept": kept, "blob": f"/v1/blobs/{hashlib.sha256(CONTENT).hexdigest()}", "large": large}


@pytest.mark.parametrize("which", ["kept", "blob", "large"])
def test_a_file_is_answered_whole_in_ranges_and_not_beyond_its_end(
    http: httpx.Client, urls: dict[str, str], which: str
) -> None:
    whole = http.get(urls[which])
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert (whole.headers["accept-ranges"], whole.headers["content-length"]) == ("bytes", str(SIZE))
    for header, (start, stop) in WANTED.items():
        part = http.get(urls[which], headers={"Range": header})
        assert (part.status_code, part.content) == (206, CONTENT[start:stop]), header
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert part.headers["content-length"] == str(stop - start)
        assert part.headers["x-content-type-options"] == "nosniff"
    beyond = http.get(urls[which], headers={"Range": BEYOND[0]})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{SIZE}")
    assert beyond.json()["error"]["code"] == "range_not_satisfiable"
    several = http.get(urls[which], headers={"Range": WHOLE[0]})
    assert (several.status_code, len(several.content)) == (200, SIZE)
    head = http.head(urls[which])
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(SIZE), b"")


def test_a_download_goes_on_only_where_the_content_is_still_the_same(http: httpx.Client, urls: dict[str, str]) -> None:
    etag = http.head(urls["kept"]).headers["etag"]
    for if_range, status in ((etag, 206), ('"another"', 200)):
        answer = http.get(urls["kept"], headers={"Range": "bytes=10-19", "If-Range": if_range})
        assert answer.status_code == status
    unnamed = http.get(urls["large"], headers={"Range": "bytes=10-19", "If-Range": etag})
    assert unnamed.status_code == 200
