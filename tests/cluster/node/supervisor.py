"""Keeps a node's components running and answers requests about them. Runs as process 1 of the namespaces.

Process 1 inherits every orphan (containerd's shims leave theirs here), so it must reap processes it never started.
"""

import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.node import control
from tests.cluster.node.components import After, Component

RESTART_SECONDS = 0.5
CRASH_LOOP_SECONDS = 1.5
STEADY_SECONDS = 5.0
POLL_SECONDS = 0.05
"""Interval at which start conditions are checked while components wait for them."""
IDLE_SECONDS = 1.0


def restart_delay(ran_seconds: float) -> float:
    """Returns the seconds until an ended component is started again: more if it ran only briefly."""
    return RESTART_SECONDS if ran_seconds >= STEADY_SECONDS else CRASH_LOOP_SECONDS


@dataclass(slots=True)
class _Slot:
    """A component and the state of its process."""

    component: Component
    wanted: bool
    pid: int | None = None
    started_at: float = 0.0
    start_due_at: float | None = None
    restarts: int = 0


class Supervisor:
    """Starts components once their conditions hold, restarts those that end, and serves requests.

    conditions returns for each After whether it holds now; log receives one line per event.
    """

    def __init__(
        self,
        components: Iterable[Component],
        *,
        directory: Path,
        conditions: dict[After, Callable[[], bool]],
        log: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._conditions = conditions
        self._log = log
        self._slots = {
            component.name: _Slot(component, wanted=component.after is not After.REQUEST)
            for component in components
        }
        self._waiting = [name for name, slot in self._slots.items() if slot.wanted]

    def run(self, listener: socket.socket) -> None:
        """Runs for ever and serves requests on listener (see control)."""
        awake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker)
        # set_wakeup_fd only works for signals that have a handler
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        with selectors.DefaultSelector() as selector:
            selector.register(awake, selectors.EVENT_READ)
            selector.register(listener, selectors.EVENT_READ)
            while True:
                self._start_due()
                ready = {key.fd for key, _ in selector.select(self._poll_seconds())}
                if awake in ready:
                    os.read(awake, 4096)
                self._reap()
                if listener.fileno() in ready:
                    self._answer(listener)

    def _poll_seconds(self) -> float:
        pending = any(slot.start_due_at is not None for slot in self._slots.values())
        return POLL_SECONDS if self._waiting or pending else IDLE_SECONDS

    def _start_due(self) -> None:
        for name in list(self._waiting):
            slot = self._slots[name]
            condition = self._conditions.get(slot.component.after)
            if condition is None or condition():
                self._waiting.remove(name)
                self._start(slot)
        now = time.monotonic()
        for slot in self._slots.values():
            if slot.start_due_at is not None and slot.start_due_at <= now:
                slot.restarts += 1
                self._start(slot)

    def _start(self, slot: _Slot) -> None:
        slot.start_due_at = None
        if slot.pid is not None or not slot.wanted:
            return
        slot.started_at = time.monotonic()
        try:
            slot.pid = self._spawn(slot.component)
        except OSError as error:
            # a program may have been removed from the cache; the other components go on
            self._log(f"{slot.component.name} cannot be started: {error}")
            slot.start_due_at = slot.started_at + CRASH_LOOP_SECONDS
        else:
            self._log(f"{slot.component.name} started as process {slot.pid}")

    def _spawn(self, component: Component) -> int:
        with (self._directory / "logs" / f"{component.name}.log").open("ab") as output:
            process = subprocess.Popen(
                component.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._directory,
                start_new_session=True,
            )
        # _reap collects every process, so Popen must not wait for it as well
        process.returncode = 0
        return process.pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            slot = next((slot for slot in self._slots.values() if slot.pid == pid), None)
            if slot is not None:
                self._ended(slot, os.waitstatus_to_exitcode(status))

    def _ended(self, slot: _Slot, code: int) -> None:
        slot.pid = None
        now = time.monotonic()
        self._log(f"{slot.component.name} ended with {code}")
        if slot.wanted:
            slot.start_due_at = now + restart_delay(now - slot.started_at)

    def _answer(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                request = control.receive(connection)
                reply = self._serve(request)
            except (OSError, ValueError) as error:
                reply = control.Reply(error=str(error))
            control.send(connection, reply)

    def _serve(self, request: control.Request) -> control.Reply:
        if request.verb is control.Verb.STATUS:
            return control.Reply(components=tuple(self._status(s) for s in self._slots.values()))
        slot = self._slots.get(request.component)
        if slot is None:
            known = ", ".join(self._slots)
            return control.Reply(
                error=f"there is no component {request.component!r}: there are {known}"
            )
        match request.verb:
            case control.Verb.START:
                slot.wanted = True
                self._start(slot)
            case control.Verb.STOP:
                slot.wanted, slot.start_due_at = False, None
                self._signal(slot, signal.SIGTERM)
            case control.Verb.KILL:
                self._signal(slot, signal.SIGKILL)
        return control.Reply()

    def _signal(self, slot: _Slot, number: signal.Signals) -> None:
        if slot.component.name in self._waiting and not slot.wanted:
            self._waiting.remove(slot.component.name)
        if slot.pid is not None:
            os.kill(slot.pid, number)

    def _status(self, slot: _Slot) -> control.ComponentStatus:
        return control.ComponentStatus(
            name=slot.component.name, wanted=slot.wanted, pid=slot.pid, restarts=slot.restarts
        )
