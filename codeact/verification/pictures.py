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
def different(one, other):
    if one.size != other.size:
        return "size|%dx%d|%dx%d" % (*one.size, *other.size)
    frames = [getattr(each, "n_frames", 1) for each in (one, other)]
    for frame in range(min(frames)):
        one.seek(frame), other.seek(frame)
        pair = one, other
        if any(each.mode[0] in "IF" for each in pair):  # Other modes cannot hold these values.
            if one.mode != other.mode:
                return "mode|%s|%s" % (one.mode, other.mode)
            first, second = (each.tobytes() for each in pair)
            if first == second:
                continue
            at = next(at for at in range(len(first)) if first[at] != second[at]) * one.width * one.height // len(first)
            place = at % one.width, at // one.width
        else:
            pair = one.convert("RGBA"), other.convert("RGBA")
            box = ImageChops.difference(*pair).getbbox(alpha_only=False)
            if box is None:
                continue
            place = box[:2]
        shown = "pixels|%s|%s|at %d,%d" % (*(each.getpixel(place) for each in pair), *place)
        return shown + "|of frame %d" % frame if frame else shown
    return None if frames[0] == frames[1] else "frames|%d|%d" % tuple(frames)
for number in range({count}):
    found = different(*(Image.open(f"codeact_{{side}}_{{number}}") for side in ("expected", "found")))
    if found:
        print(number, found, sep="|")
        break
else:
    print("equal")
"""
DIFFERENT = re.compile(r"(\d{1,2})\|")


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
