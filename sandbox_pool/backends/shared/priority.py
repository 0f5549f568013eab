"""How much processor time a sandbox gets while all processors are busy: a quarter of what the server gets.

This is no limit: on a machine with an idle processor, a sandbox is as fast as without it.
"""

__all__ = ["CPU_SHARES", "CPU_WEIGHT"]

CPU_SHARES = 256
"""For control groups of version 1, and for Docker, where 1024 is the default."""
CPU_WEIGHT = 25
"""For control groups of version 2, and for systemd, where 100 is the default."""
