"""The files of an outbox: segments of one size, named so that they sort by writer and then by age.

Whoever writes a segment holds a lock on it, which the kernel lets go with the process, however that ended: a segment without a lock
gets no more records. The space is allocated before it is used, since a write to a mapped page that has none on a full disk kills the
process.
"""

import contextlib
import fcntl
import mmap
import os
from pathlib import Path
from typing import Any, Final

from relay.outbox.record_format import FIRST_OFFSET, MAGIC
from relay.outbox.record_writing import Place

SEGMENT_BYTES: Final = 1024 * 1024
SUFFIX: Final = ".segment"
UNFINISHED_SUFFIX: Final = ".new"
"""A segment between its creation and its first record: another process may not take it for one that is left."""
FILL_BYTES: Final = 64 * 1024
"""Of zeros written at a time: the kernel keeps them in a piece, which a first write to it finds ready, in place of a page that it has to make."""
_ZEROS: Final = bytes(FILL_BYTES)
UNFINISHED_SECONDS: Final = 10.0
"""Making a segment takes milliseconds; whoever was killed meanwhile leaves it."""


class NoRoom(Exception):
    """No segment can be made; the message says why."""


class WritableSegment:
    """A segment that this process writes: mapped, locked, and of zeros but for the magic. place is for the records of attempts."""

    __slots__ = ("_descriptor", "map", "place")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        # mypyc knows no buffer: what is assigned to a slice of it goes to the page cache at once
        self.map: Any = mmap.mmap(descriptor, size)
        self.map[:FIRST_OFFSET] = MAGIC
        self.place = Place(self.map, FIRST_OFFSET, size)

    def close(self) -> None:
        """Lets go of the segment: nothing more comes into it."""
        self.place.release()
        self.map.close()
        os.close(self._descriptor)


def make_segment(
    directory: Path, name: str, *, size: int, most: int, filled: bool = False
) -> WritableSegment:
    """Makes a segment with this name, unless there are as many as there may be; raises NoRoom.

    Unfinished ones count: they take the same space. filled has its zeros written: records are written in less than half the time, but whatever is
    written takes pieces of FILL_BYTES to the disk, so it is for a segment that is soon full.
    """
    unfinished = directory / (name + UNFINISHED_SUFFIX)
    try:
        if len(_names(directory, SUFFIX, UNFINISHED_SUFFIX)) >= most:
            raise NoRoom(f"{most} segments of {size} bytes are full and not delivered yet")
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NoRoom(f"{directory}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.posix_fallocate(descriptor, 0, size)
        if filled:
            _fill(descriptor, size)
        segment = WritableSegment(descriptor, size)
        os.rename(unfinished, directory / (name + SUFFIX))
    except (OSError, ValueError) as error:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise NoRoom(f"{directory}: {error}") from error
    return segment


def _fill(descriptor: int, size: int) -> None:
    for start in range(0, size, FILL_BYTES):
        os.pwrite(descriptor, _ZEROS[: size - start], start)


def segments(directory: Path) -> list[str]:
    """Returns the names of the segments, those of one writer in the order in which they are written; raises OSError."""
    return sorted(_names(directory, SUFFIX))


def _names(directory: Path, *suffixes: str) -> list[str]:
    return [name for name in os.listdir(directory) if name.endswith(suffixes)]


def writer_of(name: str) -> str:
    """Returns the writer of a segment by its name, which is the writer's and a number."""
    return name.rpartition("-")[0]


def segment_name(writer: str, number: int) -> str:
    """Returns the name of a writer's segment, without the suffix."""
    return f"{writer}-{number:08d}"


def is_written(descriptor: int) -> bool:
    """Returns whether a process still has the segment open for writing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def remove_unfinished(directory: Path, *, older_than: float) -> None:
    """Removes segments whose making was broken off; older_than is a time of the file system, in seconds. Raises OSError."""
    for name in _names(directory, UNFINISHED_SUFFIX):
        path = directory / name
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < older_than and not _is_being_made(path):
                path.unlink()


def _is_being_made(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return is_written(descriptor)
    finally:
        os.close(descriptor)
