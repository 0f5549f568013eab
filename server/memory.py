"""Makes the C library (glibc) return free memory to the system at once; has no effect with other C libraries.

By default, glibc retains the memory of a few large inputs: each freed block raises the size from which blocks are
requested from the system individually (up to 32 MB), and each thread has its own arena.
"""

import ctypes

__all__ = ["give_memory_back"]

M_MMAP_THRESHOLD, M_ARENA_MAX, M_TRIM_THRESHOLD = -3, -8, -1
BLOCK_BYTES = 512 * 1024
"""Blocks of at least this size go back to the system when they are freed.

Setting the size also stops it from growing.
"""
TRIM_BYTES = 4 * 1024 * 1024
ARENAS = 2


def give_memory_back() -> bool:
    """Changes this process's settings (mallopt(3)). Returns False if the C library does not support it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl, macOS
        return False
    wanted = {M_MMAP_THRESHOLD: BLOCK_BYTES, M_TRIM_THRESHOLD: TRIM_BYTES, M_ARENA_MAX: ARENAS}
    done = [mallopt(option, value) for option, value in wanted.items()]
    return all(done)
