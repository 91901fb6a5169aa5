"""Tells the C library's allocator what to keep between calls.

By default glibc gives the end of the heap back to the kernel whenever 128 KiB of it are free. A body of 100 KB ends there:
the kernel then takes its pages and clears others for the next call, which was a third of such a call's time.
"""

import ctypes
from typing import Final

from relay.settings import MIB

_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""Parameters of mallopt(3), by their numbers in malloc.h."""

KEPT_BYTES: Final = 8 * MIB
"""Free memory at the end of the heap up to this is kept for the next calls; relay.process.memory_plan counts it."""
STEP_BYTES: Final = MIB
"""The heap grows by this, and not by each body."""
MAPPED_BYTES: Final = 4 * MIB
"""A larger body has pages of its own, which go back to the kernel with it: rare ones must not leave holes in the heap."""
SMALL_BYTES: Final = 128 * 1024
"""All three of a process that is to stay small."""


def keep_freed_memory() -> bool:
    """Sets the allocator of this process; returns whether its C library has these settings, as glibc does."""
    return _set(
        (_TRIM_THRESHOLD, KEPT_BYTES), (_TOP_PAD, STEP_BYTES), (_MMAP_THRESHOLD, MAPPED_BYTES)
    )


def give_back_freed_memory() -> bool:
    """Sets the allocator of a process that is to stay small, however large what it has in hand for a moment, and whose threads
    share one heap; returns whether its C library has these settings."""
    return _set(
        (_ARENA_MAX, 1),
        (_TRIM_THRESHOLD, SMALL_BYTES),
        (_TOP_PAD, SMALL_BYTES),
        (_MMAP_THRESHOLD, SMALL_BYTES),
    )


def _set(*options: tuple[int, int]) -> bool:
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    return all(set_option(name, value) == 1 for name, value in options)
