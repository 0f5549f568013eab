"""Restores the symbolic links `codeact/server` and `codeact/dashboard`.

Git stores them as links to `server/` and `streamlit_app/`. A checkout without support for links, or a copy made by such
a tool, contains small text files instead, and `import codeact.server` fails.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["LINKS", "BrokenLink", "mend"]

LINKS: Mapping[str, str] = {"codeact/server": "../server", "codeact/dashboard": "../streamlit_app"}


class BrokenLink(Exception):
    """A link is missing and cannot be created."""


def mend(root: Path) -> list[str]:
    """Creates the missing links and returns their names. A folder in a link's place is not changed.

    Raises `BrokenLink` if the file system does not support links, or if something else is in a link's place.
    """
    mended = []
    for name, target in LINKS.items():
        link = root / name
        if link.is_dir():
            continue
        if not (link.parent / target).is_dir():
            raise BrokenLink(f"{link} should be a symbolic link to {target}, and there is no such folder.")
        if link.is_file() and link.read_bytes().strip() != target.encode():
            raise BrokenLink(f"{link} should be a symbolic link to {target}, and is a file of yours: move it away.")
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(target, target_is_directory=True)
        except OSError as error:
            link.write_text(target)
            raise BrokenLink(
                f"{link} must be a symbolic link to {target}, and cannot be made one: {error.strerror}. Clone where"
                " links are possible (on Windows: developer mode, and git config core.symlinks true)."
            ) from error
        mended.append(name)
    return mended


def main() -> None:
    """Restores the links of the checkout that contains this script."""
    try:
        mended = mend(Path(__file__).resolve().parents[1])
    except BrokenLink as error:
        sys.exit(str(error))
    if mended:
        print(f"Made {' and '.join(mended)} symbolic links again.", file=sys.stderr)


if __name__ == "__main__":
    main()
