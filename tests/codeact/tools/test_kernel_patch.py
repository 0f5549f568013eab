"""Diffs in the V4A form, as code in a sandbox applies them."""

from pathlib import Path
from typing import Any

import pytest

from codeact.tools import kernel_patch
from codeact.tools.kernel_patch import PatchError, apply_patch, created, patched

TEXT = "import os\n\ndef a():\n    return 1\n\ndef b():\n    return 1\n"


@pytest.mark.parametrize(
    ("diff", "result"),
    [
        ("@@\n-import os\n+import sys\n", TEXT.replace("import os", "import sys")),
        ("-import os\n+import sys", TEXT.replace("import os", "import sys")),
        ("@@ def b():\n-    return 1\n+    return 2\n", TEXT[:-2] + "2\n"),
        (" def b():\n-    return 1\n+    return 2\n", TEXT[:-2] + "2\n"),
        ("@@\n-    return 1\n+    return 3\n*** End of File\n", TEXT[:-2] + "3\n"),
        ("@@ def a():\n+    print()\n", TEXT.replace("def a():\n", "def a():\n    print()\n")),
        ("+# end\n", TEXT + "# end\n"),
        ("@@\n-import os\n@@\n-def b():\n+def c():\n", TEXT.replace("import os\n", "").replace("def b", "def c")),
        ("@@\n-import os   \n+import sys\n", TEXT.replace("import os", "import sys")),
        (" import os\n\n-def a():\n+def z():\n", TEXT.replace("def a", "def z")),
    ],
)
def test_a_diff_changes_what_it_names(diff: str, result: str) -> None:
    assert patched(TEXT, diff) == result
    assert patched(TEXT.replace("\n", "\r\n"), diff) == result.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("diff", "says"),
    [
        ("@@\n-no such line\n+x\n", "These lines are not in the file after line 0:\nno such line"),
        ("@@ def z():\n-x\n", "There is no line 'def z\\(\\):' after line 0"),
        ("", "changes nothing"),
        ("@@\n", "changes nothing"),
        ("oops\n", "begins with ' ', '\\+', '-' or '@@'"),
        ("@@\n-    return 1\n@@\n-import os\n", "not in the file after line 4"),
    ],
)
def test_a_diff_that_does_not_fit_says_why(diff: str, says: str) -> None:
    with pytest.raises(PatchError, match=says):
        patched(TEXT, diff)


def test_each_line_keeps_its_own_end() -> None:
    assert patched("a\r\nb\nc\n", "-b\n+B\n") == "a\r\nB\nc\n"
    assert patched("a\r\nb\r\nc\n", " a\n+x\n") == "a\r\nx\r\nb\r\nc\n"
    assert patched("a\r\nb", "+c\n") == "a\r\nb\r\nc"
    assert patched("a\r\nb", "-b\n") == "a"


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_patch, "ROOT", str(tmp_path.resolve()))
    (tmp_path / "a.sh").write_text("one\n")
    (tmp_path / "a.sh").chmod(0o750)
    lone = "\ud800"
    for kind, path in (("update_file", "a.sh"), ("create_file", "b.txt")):
        with pytest.raises(UnicodeEncodeError):
            apply_patch(lambda *_: None, {"type": kind, "path": path, "diff": f"+{lone}\n"})
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.sh", "one\n")]
    apply_patch(lambda *_: None, {"type": "update_file", "path": "a.sh", "diff": "+two\n"})
    assert ((tmp_path / "a.sh").read_text(), (tmp_path / "a.sh").stat().st_mode & 0o777) == ("one\ntwo\n", 0o750)


def test_a_new_file_has_added_lines_alone() -> None:
    assert created("+a\n+\n+b") == "a\n\nb\n"
    assert created("") == ""
    with pytest.raises(PatchError, match="begins with"):
        created("+a\nb")


def test_a_whole_patch_changes_files_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kernel_patch, "ROOT", str(tmp_path.resolve()))
    said: list[dict[str, Any]] = []

    def call(name: str, arguments: dict[str, Any]) -> None:
        said.append(arguments)

    text = "*** Begin Patch\n*** Add File: sub/a.txt\n+one\n+two\n*** Update File: sub/a.txt\n-two\n+2\n*** End Patch\n"
    assert apply_patch(call, text) == ["sub/a.txt was created.", "sub/a.txt was changed."]
    assert (tmp_path / "sub/a.txt").read_text() == "one\n2\n"
    assert [one.get("status") for one in said] == [None, "completed", None, "completed"]
    for wrong in ("/etc/passwd", "../a", "", ".", "sub/../../a"):
        with pytest.raises(PatchError, match="relative to the working directory"):
            apply_patch(call, {"type": "create_file", "path": wrong, "diff": "+a"})
        assert said[-1]["status"] == "failed"
    with pytest.raises(FileExistsError):
        apply_patch(call, [{"type": "create_file", "path": "sub/a.txt", "diff": "+a"}])
    with pytest.raises(PatchError, match="create_file, update_file or delete_file"):
        apply_patch(call, {"type": "rename", "path": "sub/a.txt"})
    apply_patch(call, "*** Delete File: sub/a.txt")
    assert not (tmp_path / "sub/a.txt").exists()
    for wrong in ("", "hello"):
        with pytest.raises(PatchError):
            apply_patch(call, wrong)
