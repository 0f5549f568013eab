"""Has the C library give memory back to the system as soon as it is free; where it cannot be told to, nothing happens.

By itself glibc keeps what a few large inputs took: each freed block raises the size from which blocks are asked of the
system one by one (up to 32 MB), and each thread keeps an arena of its own.
"""

import ctypes

__all__ = ["give_memory_back"]

M_MMAP_THRESHOLD, M_ARENA_MAX, M_TRIM_THRESHOLD = -3, -8, -1
BLOCK_BYTES = 512 * 1024
"""Blocks of this size and above are the system's again once they are free. Naming a size also fixes it."""
KEPT_BYTES = 4 * 1024 * 1024
ARENAS = 2


def give_memory_back() -> bool:
    """For the whole process, from now on (mallopt(3)). False where the C library does not know how."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl, macOS
        return False
    wanted = {M_MMAP_THRESHOLD: BLOCK_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES, M_ARENA_MAX: ARENAS}
    done = [mallopt(option, value) for option, value in wanted.items()]
    return all(done)
