"""Every claim of docs/security.md refers to a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "security.md").read_text()))
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 25
    assert named <= set(re.findall(r"def (test_\w+)\(", tests))


def test_every_attack_is_on_the_page() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    attacks = "".join(path.read_text() for path in (ROOT / "tests" / "attacks").glob("test_*.py"))
    assert [name for name in re.findall(r"def (test_\w+)\(", attacks) if f"`{name}`" not in page] == []
