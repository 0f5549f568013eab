"""Our logging: a stderr that nobody reads any more ends neither a request nor a background task."""

import os
import subprocess
import sys

import pytest

CODE = """
import os, sys
import structlog
from codeact.logs import configure
{how}
configure("info", json={json})
structlog.get_logger().error("first", text="x" * 100)
try:
    raise RuntimeError("why")
except RuntimeError:
    structlog.get_logger().exception("second")
{then}
structlog.get_logger().warning("third")
print("still here", flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize(
    ("how", "then"),
    [
        ("", "sys.stderr.close()"),
        ("", "os.close(2)"),
        ("read, write = os.pipe(); os.close(read); os.dup2(write, 2)", ""),
        ("os.dup2(os.open('/dev/full', os.O_WRONLY), 2)", ""),
    ],
    ids=["closed", "descriptor closed", "no reader", "full disk"],
)
def test_a_line_that_cannot_be_written_is_dropped(how: str, then: str, json: bool) -> None:
    code = CODE.format(how=how, then=then, json=json)
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert done.stdout == "still here\n"
