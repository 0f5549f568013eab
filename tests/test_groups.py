"""Which tests share a process when the suite runs in several."""

from pathlib import Path

from tests.groups import LONG, ROOT, group_of, place_of


def path_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_a_file_is_a_group_of_its_own_unless_its_folder_or_its_mark_names_one() -> None:
    assert group_of("tests/test_groups.py") == "tests/test_groups.py"
    assert group_of("tests/attacks/test_output.py") == group_of("tests/attacks/test_host.py") == "attacks"
    assert group_of("tests/server/test_kill.py") == "kill"


def test_every_mark_is_found_by_the_text_of_its_file() -> None:
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "mark.xdist_group(" in path.read_text("utf-8")]
    groups = {path_of(path): group_of(path_of(path)) for path in marked if path != Path(__file__)}
    assert {"own", "kill"} <= {*groups.values()}
    assert not any(path == group for path, group in groups.items())


def test_what_must_have_a_fresh_process_starts_first() -> None:
    assert [place_of(group) for group in ("own", "browser", "images")] == [0, 1, 2]
    assert place_of("tests/test_groups.py") > place_of("kill")


def test_long_files_start_before_the_others() -> None:
    assert all(group_of(path) == path for path in LONG)
    assert place_of("kill") < place_of(LONG[0]) < place_of(LONG[-1]) < place_of("tests/test_groups.py")
