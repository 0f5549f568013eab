"""Compares pictures by their pixels, in a sandbox: nobody else decodes what code has drawn."""

import re
from collections.abc import Sequence

from codeact.verification.comparing import Mismatch, Pictures
from sandbox_pool.outputs import Stream
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["MOST_PICTURES", "first_different"]

MOST_PICTURES = 20
"""How many pairs of pictures of one block are compared by their pixels."""
PROGRAM = """
from PIL import Image, ImageChops
for number in range({count}):
    one, other = (Image.open(f"codeact_{{side}}_{{number}}").convert("RGBA") for side in ("expected", "found"))
    if one.size != other.size:
        print(number, "size", "%dx%d" % one.size, "%dx%d" % other.size)
        break
    box = ImageChops.difference(one, other).getbbox(alpha_only=False)
    if box is not None:
        print(number, "pixels", one.getpixel(box[:2]), other.getpixel(box[:2]), "at %d,%d" % box[:2], sep="|")
        break
else:
    print("equal")
"""
DIFFERENT = re.compile(r"(\d{1,2})[ |]")


async def first_different(pictures: Sequence[Pictures], sandbox: Sandbox) -> Mismatch | None:
    """Returns the first pair whose pixels differ, or None. `sandbox` must not have run any of the answer's code.

    Where the pictures cannot be decoded, or the sandbox has no Pillow, other bytes count as a difference. Raises
    `SandboxError`.
    """
    if len(pictures) > MOST_PICTURES:
        return _mismatch(pictures[MOST_PICTURES], "more pictures than are compared by their pixels")
    for number, pair in enumerate(pictures):
        await sandbox.write_file(f"codeact_expected_{number}", pair.expected)
        await sandbox.write_file(f"codeact_found_{number}", pair.found)
    outputs, result = await sandbox.run(PROGRAM.format(count=len(pictures)))
    text = "".join(output.text for output in outputs if isinstance(output, Stream) and output.name == "stdout")
    if result.status == "ok" and text.strip() == "equal":
        return None
    found = DIFFERENT.match(text)
    if found is None or int(found[1]) >= len(pictures):
        why = result.error.ename if result.error is not None else result.status
        return _mismatch(pictures[0], f"other bytes, and their pixels cannot be compared ({why})")
    return _mismatch(pictures[int(found[1])], text[found.end() :].strip()[:200])


def _mismatch(pair: Pictures, what: str) -> Mismatch:
    return Mismatch("picture", f"{len(pair.expected)} bytes", what, pair.output)
