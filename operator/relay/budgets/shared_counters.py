"""Counters of money that a worker writes and the supervisor reads, in memory that outlives the worker.

Each is written by one process alone, whole (an aligned word), so neither waits for the other.
"""

import mmap
from typing import Any, Final

SLOTS: Final = 4
"""Of a worker: a period's budget and the next one's, that of the period before whose calls are under way, and credit."""
WORD_BYTES: Final = 8
SPENT: Final = 0
HELD: Final = 1
FIELDS: Final = 2
_WORKER_WORDS: Final = SLOTS * FIELDS


def shared_counters(workers: int) -> Any:
    """Makes the counters of so many workers; forked processes share them."""
    # mypyc knows no buffer
    memory: Any = mmap.mmap(-1, workers * _WORKER_WORDS * WORD_BYTES)
    return memoryview(memory).cast("q")


def place(worker: int, slot: int) -> int:
    """Returns where the counters of a worker's slot begin."""
    return worker * _WORKER_WORDS + slot * FIELDS
