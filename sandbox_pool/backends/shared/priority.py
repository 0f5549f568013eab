"""How much processor time a sandbox gets: its limit, and its part while all processors are busy.

The part is a quarter of what the server gets. On a machine with an idle processor, a sandbox is as fast as without it.
"""

__all__ = ["CPU_PERIOD_US", "CPU_SHARES", "CPU_WEIGHT", "cpu_quota_us"]

CPU_PERIOD_US = 20_000
"""Over how many microseconds the limit on processor time holds.

What has used up its limit stands still for the rest of the period. With the system's default of 100 ms, a block that
starts while a checkpoint uses a second processor would wait for up to 50 ms.
"""
LEAST_QUOTA_US = 1_000
"""The system refuses less."""

CPU_SHARES = 256
"""For control groups of version 1, and for Docker, where 1024 is the default."""
CPU_WEIGHT = 25
"""For control groups of version 2, and for systemd, where 100 is the default."""


def cpu_quota_us(cpus: float) -> int:
    """How many microseconds of processor time a sandbox with a limit of `cpus` processors may use in each period."""
    return max(LEAST_QUOTA_US, int(cpus * CPU_PERIOD_US))
