"""Relays that are forked from a process that has imported what they need, so that a start costs a twentieth."""

import atexit
import functools
import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.blackbox.process import Child, Process, python_environment
from tests.blackbox.relays import Relay
from tests.blackbox.waiting import eventually

_MODULE: Final = ("-m", "relay")


class ForkedRelay(Relay):
    """A relay as any other, but that memory it shares with the process that it was forked from is not counted as its own.

    Started anew if RELAY_BLACKBOX_COMMAND runs something else than Python's module relay.
    """

    def _begin(self, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        if tuple(command[-2:]) == _MODULE:
            return _ForkedProcess(command, environment=environment, log=self.log)
        return super()._begin(command, environment)


class _ForkedProcess(Process):
    def _begin(self, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        return _forker(tuple(command[:-2])).fork(environment, self.log)


class _Forker:
    """The process that relays are forked from, one for all tests of a session's process."""

    def __init__(self, interpreter: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            # -P: what lies beside the script hides no package
            [*interpreter, "-P", str(Path(__file__).with_name("relay_forker.py"))],
            env=python_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._one_at_a_time = threading.Lock()
        self._questions = 0
        atexit.register(self._end)

    def fork(self, environment: Mapping[str, str], log: Path) -> "_Forked":
        """Returns a relay that has begun."""
        return _Forked(self, self._answer(log=str(log), environment=dict(environment)))

    def poll(self, pid: int) -> int | None:
        """Returns the exit code of a relay, once; None while it runs."""
        code: int | None = self._answer(poll=pid)
        return code

    def _answer(self, **asked: Any) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with self._one_at_a_time:
            self._questions += 1
            line = json.dumps({**asked, "question": self._questions})
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            while line := process.stdout.readline().decode():
                told = json.loads(line)
                # a test that ran out of time while it waited has left its answer
                if told["question"] == self._questions:
                    return told["answer"]
        raise AssertionError("the process that relays are forked from has ended")

    def _end(self) -> None:
        self._process.communicate()


_forker = functools.cache(_Forker)


class _Forked:
    """A forked relay, as subprocess shows a process that it has started."""

    def __init__(self, forker: _Forker, pid: int) -> None:
        self.pid = pid
        self._forker = forker
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._forker.poll(self.pid)
        return self._code

    def wait(self, timeout: float) -> int:
        code = eventually(
            self.poll,
            lambda code: code is not None,
            within_seconds=timeout,
            what=f"the end of process {self.pid}",
        )
        assert code is not None
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.Signals(sig))
