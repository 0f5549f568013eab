"""Makes `codeact/server` and `codeact/dashboard` links again.

Git keeps them as symbolic links to `server/` and `streamlit_app/`. A checkout where links are switched off, and a copy
by a tool that does not know them, has small text files in their place; `import codeact.server` fails then.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["LINKS", "BrokenLink", "mend"]

LINKS: Mapping[str, str] = {"codeact/server": "../server", "codeact/dashboard": "../streamlit_app"}


class BrokenLink(Exception):
    """A link that is missing and cannot be made."""


def mend(root: Path) -> list[str]:
    """Makes the links that are missing, and returns their names. A folder in a link's place stays as it is.

    Raises `BrokenLink` where the file system takes no links, or where something else is in the place of one.
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
    """Mends the checkout that this script is in."""
    try:
        mended = mend(Path(__file__).resolve().parents[1])
    except BrokenLink as error:
        sys.exit(str(error))
    if mended:
        print(f"Made {' and '.join(mended)} symbolic links again.", file=sys.stderr)


if __name__ == "__main__":
    main()
