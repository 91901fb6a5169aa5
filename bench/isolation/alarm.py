"""An alarm with the kernel's precision: epoll's time-outs are whole milliseconds, too coarse to measure 3 ms."""

import ctypes
import os
from typing import Final

NANOSECONDS: Final = 1_000_000_000
_CLOCK_MONOTONIC: Final = 1
_TFD_NONBLOCK: Final = os.O_NONBLOCK
_TFD_TIMER_ABSTIME: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """A timerfd (timerfd_create(2)) on the monotonic clock; readable from the moment it was set for."""

    def __init__(self) -> None:
        self._descriptor: int = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")

    def fileno(self) -> int:
        return self._descriptor

    def set(self, at_nanoseconds: int) -> None:
        """Sets the alarm to this monotonic time; it rings at once if that has passed."""
        seconds, nanoseconds = divmod(max(1, at_nanoseconds), NANOSECONDS)
        spec = _TimerSpec(_Timespec(0, 0), _Timespec(seconds, nanoseconds))
        if _libc.timerfd_settime(self._descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    def acknowledge(self) -> None:
        """Stops the ringing until the alarm is set again."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            # the alarm was set again after it rang
            return
