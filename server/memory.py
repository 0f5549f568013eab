"""Settings of this process's memory: the C library returns what is free, and the garbage collector has less to do.

By default, glibc retains the memory of a few large inputs: each freed block raises the size from which blocks are
requested from the system individually (up to 32 MB), and each thread has its own arena.
"""

import ctypes
import gc

__all__ = ["give_memory_back", "keep_startup_objects"]

M_MMAP_THRESHOLD, M_ARENA_MAX, M_TRIM_THRESHOLD = -3, -8, -1
BLOCK_BYTES = 512 * 1024
"""Blocks of at least this size go back to the system when they are freed.

Setting the size also stops it from growing.
"""
TRIM_BYTES = 4 * 1024 * 1024
ARENAS = 2


def give_memory_back() -> bool:
    """Makes the C library (glibc) return free memory to the system at once (mallopt(3)).

    Returns False if the C library does not support it."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl, macOS
        return False
    wanted = {M_MMAP_THRESHOLD: BLOCK_BYTES, M_TRIM_THRESHOLD: TRIM_BYTES, M_ARENA_MAX: ARENAS}
    done = [mallopt(option, value) for option, value in wanted.items()]
    return all(done)


def keep_startup_objects() -> None:
    """Exempts all objects that exist now from garbage collection. Call it once, when the process has started.

    A full collection stops the event loop for as long as it looks at every object: for modules and classes alone, which
    stay for ever, that is 60 ms. Objects that are not part of a cycle are freed as before.
    """
    gc.collect()
    gc.freeze()
