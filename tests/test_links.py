"""The links of a checkout that a copy has turned into files."""

import os
from pathlib import Path

import pytest

from scripts.links import LINKS, BrokenLink, mend


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, target in LINKS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).parent.joinpath(target).mkdir()
        (tmp_path / name).write_text(target)
    return tmp_path


def test_this_checkout_has_its_links() -> None:
    root = Path(__file__).parents[1]
    assert {name: os.readlink(root / name) for name in LINKS} == LINKS


def test_files_with_a_links_target_become_links_and_stay_links(checkout: Path) -> None:
    assert mend(checkout) == list(LINKS)
    assert {name: os.readlink(checkout / name) for name in LINKS} == LINKS
    assert mend(checkout) == []


def test_missing_links_are_made_and_folders_stay(checkout: Path) -> None:
    (checkout / "codeact/server").unlink()
    (checkout / "codeact/server").mkdir()
    (checkout / "codeact/dashboard").unlink()
    assert mend(checkout) == ["codeact/dashboard"]
    assert not (checkout / "codeact/server").is_symlink()


def test_a_users_file_in_the_place_of_a_link_is_named_and_kept(checkout: Path) -> None:
    (checkout / "codeact/server").write_text("notes")
    with pytest.raises(BrokenLink, match=r"codeact/server should be a symbolic link to \.\./server.*move it away"):
        mend(checkout)
    assert (checkout / "codeact/server").read_text() == "notes"


def test_a_folder_that_is_missing_is_named(checkout: Path) -> None:
    (checkout / "server").rmdir()
    with pytest.raises(BrokenLink, match=r"codeact/server.* no such folder"):
        mend(checkout)


def test_a_place_that_takes_no_links_is_named_with_what_to_do(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refused)
    with pytest.raises(BrokenLink, match=r"codeact/server.*Operation not permitted.*core\.symlinks true"):
        mend(checkout)
    assert (checkout / "codeact/server").read_text() == "../server"
