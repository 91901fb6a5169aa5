"""The election: never two operators that act, always one in the end, whatever happens to requests, processes and the Lease."""

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer

from relay_operator import names
from relay_operator.decisions.leadership import lease as leases
from relay_operator.decisions.leadership.election import Claim, Election, Look, Make, Step
from relay_operator.decisions.leadership.lease import Lease
from relay_operator.errors import ApiServerRefused, Conflict

LEASE_SECONDS = 6
NAMESPACE = "relay-system"
KEY = ("Lease", NAMESPACE, names.LEADER_LEASE)
MANAGER = ("operator", "Update")


@dataclass(slots=True)
class Request:
    """A step on its way: what the API server made of it, once it got there, and the local time at which it was sent."""

    identity: str
    step: Step | dict[str, Any]
    started: float
    arrived: bool = False
    answer: Lease | None = None
    refused: bool = False


@dataclass(slots=True)
class Process:
    """An operator. Its clock runs at a rate of its own, from a time of its own."""

    rate: float
    offset: float
    election: Election
    request: Request | None = None

    def local(self, now: float) -> float:
        """Returns the time that its clock shows."""
        return self.offset + self.rate * now

    def leads(self, now: float) -> bool:
        """Tells whether it would act."""
        return self.election.leads(self.local(now))

    def take_answer(self, now: float) -> None:
        """Takes in the answer to its request."""
        request, self.request = self.request, None
        assert request is not None
        if request.refused:
            self.election.failed()
        elif isinstance(request.step, Claim):
            assert request.answer is not None
            self.election.claimed(request.answer, started=request.started, now=self.local(now))
        else:
            self.election.saw(request.answer, now=self.local(now))


@dataclass(slots=True)
class Cluster:
    """The API server as far as one Lease goes."""

    server: InMemoryApiServer = field(default_factory=InMemoryApiServer)
    written: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})

    def lease(self) -> Lease | None:
        """Reads the Lease."""
        found = self.server.get(*KEY[::2], namespace=NAMESPACE)
        return None if found is None else leases.read(found)

    def take(self, request: Request) -> None:
        """Lets a request arrive."""
        request.arrived = True
        try:
            request.answer = self._perform(request)
        except (Conflict, ApiServerRefused):
            request.refused = True

    def _perform(self, request: Request) -> Lease | None:
        match request.step:
            case Look():
                return self.lease()
            case Make(epoch):
                made = leases.unheld(name=names.LEADER_LEASE, namespace=NAMESPACE, epoch=epoch)
                return leases.read(self.server.create(made, MANAGER))
            case Claim(version, epoch):
                patch = leases.claim(
                    version=version,
                    holder=request.identity,
                    epoch=epoch,
                    lease_seconds=LEASE_SECONDS,
                    # a write that changes nothing would leave the version as it is
                    now=float(next(self.written)),
                    acquired=0.0,
                )
                return leases.read(self.server.patch(KEY, patch, MANAGER))
            case patch:
                return leases.read(self.server.patch(KEY, patch, MANAGER))

    def edit(self, patch: dict[str, Any]) -> None:
        """Changes the Lease by hand, without any precondition."""
        if self.lease() is not None:
            self.server.patch(KEY, patch, ("kubectl-edit", "Update"))


WHO = st.integers(0, 2)
MOMENTS = st.sampled_from([0.1, 0.5, 1.0, 2.0, 4.0, 5.0, 6.0, 6.5, 8.0, 13.0])


class Elections(RuleBasedStateMachine):
    """Two or three operators, requests that arrive late or never, answers that are lost, people who edit the Lease.

    A process that does not take its turn is one that is stopped: its requests are on their way all the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.now = 1000.0
        self.processes: list[Process] = []
        self.astray: list[Request] = []
        self.ended: list[Process] = []
        self.led: list[tuple[str, int]] = []
        self.was_edited = False
        self.backup: dict[str, Any] | None = None
        self._identities = itertools.count(1)

    @initialize(clocks=st.lists(st.tuples(st.floats(0.95, 1.05), st.floats(0, 1e6)), min_size=2, max_size=3))  # fmt: skip
    def start(self, clocks: list[tuple[float, float]]) -> None:
        for rate, offset in clocks:
            self.processes.append(Process(rate, offset, self._new_election()))

    def _new_election(self) -> Election:
        identity = f"operator-{next(self._identities)}"
        return Election(identity=identity, lease_seconds=LEASE_SECONDS)

    def _of(self, who: int) -> Process:
        return self.processes[who % len(self.processes)]

    @rule(seconds=MOMENTS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=MOMENTS, stopped=st.sampled_from([None, 0, 1, 2]))
    def all_but_one_run(self, seconds: float, stopped: int | None) -> None:
        """Lets everybody take turns for a while; one may be stopped."""
        end = self.now + seconds
        while self.now < end:
            self._runs_for(0.25, stopped=stopped)

    @rule(who=WHO)
    def sends(self, who: int) -> None:
        process = self._of(who)
        if process.request is None:
            started = process.local(self.now)
            step = process.election.next_step(started)
            process.request = Request(process.election.identity, step, started)

    @rule(who=WHO)
    def arrives(self, who: int) -> None:
        request = self._of(who).request
        if request is not None and not request.arrived:
            self.cluster.take(request)

    @rule(who=WHO)
    def is_answered(self, who: int) -> None:
        process = self._of(who)
        if process.request is not None and process.request.arrived:
            process.take_answer(self.now)
            self._ends_if_lost(process)

    @rule(who=WHO)
    def turns(self, who: int) -> None:
        """Sends, arrives and is answered at once, as it mostly goes."""
        self.sends(who)
        self.arrives(who)
        self.is_answered(who)

    @rule(who=WHO)
    def gives_up_waiting(self, who: int) -> None:
        process = self._of(who)
        if process.request is not None:
            self._goes_astray(process)
            process.election.failed()

    def _goes_astray(self, process: Process) -> None:
        if process.request is not None and not process.request.arrived:
            self.astray.append(process.request)
        process.request = None

    @precondition(lambda self: self.astray)
    @rule(which=st.integers(0, 7))
    def arrives_late(self, which: int) -> None:
        self.cluster.take(self.astray.pop(which % len(self.astray)))

    @rule(who=WHO)
    def is_killed(self, who: int) -> None:
        process = self._of(who)
        self._goes_astray(process)
        process.election = self._new_election()

    @rule(who=WHO)
    def ends(self, who: int) -> None:
        """Stops acting, releases the Lease if it is its own, and is replaced."""
        process = self._of(who)
        election, lease = process.election, self.cluster.lease()
        # its last request may still be answered
        self.ended.append(replace(process))
        process.request = None
        election.stop()
        if lease is not None and lease.holder == election.identity:
            patch = leases.release(version=lease.version, epoch=lease.epoch)
            self.astray.append(Request(election.identity, patch, 0.0))
        process.election = self._new_election()

    @precondition(lambda self: self.ended)
    @rule(which=st.integers(0, 7))
    def is_answered_after_its_end(self, which: int) -> None:
        process = self.ended[which % len(self.ended)]
        if process.request is None:
            return
        if not process.request.arrived:
            self.cluster.take(process.request)
        process.take_answer(self.now)

    def _ends_if_lost(self, process: Process) -> None:
        if process.election.is_lost:
            process.election = self._new_election()

    @rule()
    def is_deleted(self) -> None:
        if self.cluster.server.remove(*KEY[::2], namespace=NAMESPACE):
            self.was_edited = True

    @rule()
    def is_touched(self) -> None:
        self.cluster.edit({"metadata": {"labels": {"touched": str(self.now)}}})

    @rule(holder=st.sampled_from(["", "nobody-we-know"]))
    def is_edited(self, holder: str) -> None:
        self.was_edited = True
        self.cluster.edit({"spec": {"holderIdentity": holder}})

    @rule()
    def is_backed_up(self) -> None:
        self.backup = self.cluster.server.get(*KEY[::2], namespace=NAMESPACE)

    @precondition(lambda self: self.backup is not None)
    @rule()
    def is_restored(self) -> None:
        """Brings back what was in the Lease, but no claim of a process that still runs, and no mark of one that gave it back: who has
        just begun cannot know of a later holder.
        """
        assert self.backup is not None
        held_by = self.backup["spec"].get("holderIdentity")
        if held_by not in self._alive() and not leases.read(self.backup).is_released:
            self.was_edited = True
            self.cluster.server.put(copy.deepcopy(self.backup))

    def _alive(self) -> set[str]:
        return {one.election.identity for one in self.processes}

    @rule(who=WHO, epoch=st.integers(0, 50))
    def hears_of_an_epoch(self, who: int, epoch: int) -> None:
        self._of(who).election.note_epoch(epoch)

    @invariant()
    def at_most_one_acts(self) -> None:
        assert not any(one.leads(self.now) for one in self.ended)
        acting = [one for one in self.processes if one.leads(self.now)]
        assert len(acting) <= 1, [one.election.identity for one in acting]
        for one in acting:
            self._acts(one.election.identity, one.election.epoch)

    def _acts(self, identity: str, epoch: int) -> None:
        """Checks that epochs never go back, nor are anybody else's, unless somebody edited the Lease meanwhile."""
        if self.led and self.led[-1] == (identity, epoch):
            return
        if self.led and not self.was_edited:
            before, highest = self.led[-1]
            assert epoch > highest, (before, highest, identity, epoch)
        self.led.append((identity, epoch))
        self.was_edited = False

    def teardown(self) -> None:
        """Lets everybody run undisturbed: in the end one leads, and goes on leading."""
        if not self.processes:
            return
        for process in self.processes:
            self._goes_astray(process)
            process.election.failed()
        for _ in range(200):
            self._runs_for(0.1)
        first = [one.election.identity for one in self.processes if one.leads(self.now)]
        assert len(first) == 1
        for _ in range(100):
            self._runs_for(0.1)
            assert [one.election.identity for one in self.processes if one.leads(self.now)] == first

    def _runs_for(self, seconds: float, *, stopped: int | None = None) -> None:
        self.now += seconds
        for who, process in enumerate(self.processes):
            if who != stopped and process.election.seconds_until_next(process.local(self.now)) <= 0:
                self.turns(who)
        self.at_most_one_acts()


def test_an_answer_to_a_renewal_that_comes_after_the_end_opens_nothing() -> None:
    election = Election(identity="me", lease_seconds=LEASE_SECONDS)
    election.saw(Lease(version="1", is_released=True), now=0.0)
    ours = Lease(version="2", holder="me", epoch=1, duration_seconds=LEASE_SECONDS)
    election.claimed(ours, started=0.0, now=0.1)
    assert election.leads(0.2)
    election.stop()
    election.claimed(replace(ours, version="3"), started=0.1, now=0.3)
    assert not election.leads(0.4)
    assert election.until < 0.4


TestElections = Elections.TestCase
TestElections.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_who_saw_a_leader_goes_beyond_its_number_although_the_lease_was_deleted() -> None:
    standby = Election(identity="b", lease_seconds=LEASE_SECONDS)
    held = Lease(version="1", holder="a", epoch=7, duration_seconds=LEASE_SECONDS)
    standby.saw(held, now=0.0)
    standby.saw(None, now=1.0)
    made = standby.next_step(1.0)
    assert made == Make(7)
    standby.saw(replace(held, version="2", holder="", epoch=0), now=1.5)
    assert standby.next_step(1.6) == Look()
    assert standby.next_step(1.6 + LEASE_SECONDS) == Claim("2", 8)


def test_a_mark_of_a_former_holder_that_a_backup_brings_back_releases_nothing() -> None:
    standby = Election(identity="b", lease_seconds=LEASE_SECONDS)
    standby.saw(Lease(version="7", holder="a", epoch=7), now=0.0)
    standby.saw(Lease(version="8", epoch=3, is_released=True), now=1.0)
    assert standby.next_step(1.1) == Look()
    assert standby.next_step(1.1 + LEASE_SECONDS) == Claim("8", 8)
    # what the newest holder gives back is taken at once
    standby.saw(Lease(version="9", epoch=7, is_released=True), now=2.0)
    assert standby.next_step(2.0) == Claim("9", 8)
