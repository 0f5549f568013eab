"""Reads the front matter of a `SKILL.md`: the few forms of YAML in which people write a name and a description."""

import re

__all__ = ["front_matter"]

MOST_BYTES = 16_384
LINE = re.compile(r"([A-Za-z][\w-]{0,63}):[ \t]*(.*)")
BLOCKS = {">": " ", ">-": " ", "|": "\n", "|-": "\n"}
"""How the lines of a block are joined."""


def front_matter(document: bytes) -> dict[str, str]:
    """The top-level texts between the first two lines `---`: plain, quoted, or as a block. Other values are left out.

    Returns nothing if there is no front matter. Linear in the first 16 KB, which is all it reads.
    """
    lines = document[:MOST_BYTES].decode("utf-8", errors="replace").removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != "---" or "---" not in [line.rstrip() for line in lines[1:]]:
        return {}
    end = 1 + [line.rstrip() for line in lines[1:]].index("---")
    fields: dict[str, str] = {}
    block: tuple[str, str, list[str]] | None = None
    for line in [*lines[1:end], "end:"]:
        if block is not None and (not line.strip() or line[0] in " \t"):
            block[2].append(line.strip())
            continue
        if block is not None:
            fields[block[0]] = block[1].join(block[2]).strip()
            block = None
        if (found := LINE.fullmatch(line.rstrip())) is None:
            continue
        name, value = found[1], found[2].strip()
        if value in BLOCKS:
            block = (name, BLOCKS[value], [])
        elif value and value[0] not in "[{&*!|>%@`":
            fields[name] = _text(value)
    return fields


def _text(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        inner = value[1:-1]
        return inner.replace("''", "'") if value[0] == "'" else inner.replace('\\"', '"').replace("\\\\", "\\")
    return value.split(" #", 1)[0].rstrip()
