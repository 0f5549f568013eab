"""What a test needs of its machine: a reason enters, a skip leaves, or a failure where it must be there.

`.ci/run` sets REQUIRE_ENGINE and REQUIRE_BROWSER once it has installed both, so that nothing is skipped there.
"""

import os
from typing import Literal, NoReturn

import pytest

__all__ = ["missing"]


def missing(what: Literal["engine", "browser"], reason: str) -> NoReturn:
    if os.environ.get(f"REQUIRE_{what.upper()}"):
        pytest.fail(f"This machine must have it: {reason}", pytrace=False)
    pytest.skip(reason)
