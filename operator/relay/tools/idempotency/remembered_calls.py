"""Remembers what became of each call that must not be carried out twice, for as long as a repeat of it may come.

One of these serves all workers of a pod. Where there is no room, calls are refused and answers dropped; no call is forgotten before its time.
"""

import heapq
from collections import OrderedDict
from enum import Enum
from typing import Final, Literal, NamedTuple

from relay_contract.tools.manifest import MAX_REMEMBERED_SECONDS

MOST_CALLS: Final = 1024
"""Remembered for a tenant, in equal parts for its API keys."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""Of the answers that are kept for a tenant, in equal parts for its API keys."""
MAX_ANSWER_BYTES: Final = 256 * 1024
"""Of one answer; a larger one is not kept."""
MOST_WAITING: Final = 16
"""Repeats of one call that wait for its answer."""

Claimant = tuple[int, int]
"""A request: its worker, and the worker's number for it."""
Finding = Literal[
    "first", "answered", "not_kept", "unknown", "under_way", "other_arguments", "no_room"
]
"""Says what is known of a call. first: nobody made it, and the claimant is to carry it out. answered: it has this answer. not_kept: it was
carried out, and its answer is not kept. unknown: it may have been. under_way: it is, and nobody else can wait for it.
other_arguments: the key stands for a call that asked for something else. no_room: nothing is known, and nothing can be remembered."""
End = Literal["answered", "unknown", "unsent"]
"""How a call ended. unsent: its server carried out nothing of it, so it was none."""


class Claim(NamedTuple):
    """A call that somebody is about to make. key is one of so many API keys of the tenant; seconds is how long it is remembered."""

    tenant: str
    key: str
    keys: int
    call: str
    arguments: str
    seconds: int
    call_id: str


class Answer(NamedTuple):
    """What a call got: the status and the text of the message; seconds is how long it may be told again at most."""

    status: int
    text: str
    seconds: int = MAX_REMEMBERED_SECONDS


class Verdict(NamedTuple):
    """What is known of a call that was claimed. call_id is what an answered one is booked by; wait_seconds is when to come again, where there is no room."""

    finding: Finding
    answer: Answer | None = None
    call_id: str = ""
    wait_seconds: float = 0.0


class _State(Enum):
    UNDER_WAY = "under way"
    ANSWERED = "answered"
    NOT_KEPT = "not kept"
    UNKNOWN = "unknown"


class _Call:
    """A call that was claimed. holder is the tenant's API key, owner who carries it out, call_id what it is booked by; those who wait have ids too."""

    __slots__ = ("answer", "call_id", "claim", "holder", "owner", "state", "status", "waiting")

    def __init__(self, claim: Claim, owner: Claimant) -> None:
        self.claim = claim
        self.call_id = claim.call_id
        self.holder = (claim.tenant, claim.key)
        self.owner = owner
        self.state = _State.UNDER_WAY
        # as bytes: a text takes up to four of them for each character
        self.answer = b""
        self.status = 0
        self.waiting: dict[Claimant, str] = {}


class _Holder:
    """What is remembered for one API key: how many calls, and the answers that are kept, the oldest first."""

    __slots__ = ("answers", "bytes", "calls")

    def __init__(self) -> None:
        self.calls = self.bytes = 0
        self.answers: OrderedDict[str, _Call] = OrderedDict()


Told = list[tuple[Claimant, Verdict]]
"""Those who waited, and what they are to know now."""


class RememberedCalls:
    """The calls of one pod. Times are monotonic seconds."""

    __slots__ = ("_calls", "_ends", "_holders", "_tenants")

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}
        self._ends: list[tuple[float, str]] = []
        self._holders: dict[tuple[str, str], _Holder] = {}
        self._tenants: dict[str, int] = {}

    def claim(self, claimant: Claimant, claim: Claim, now: float) -> Verdict | None:
        """Returns what is known of the call; None where the claimant waits for the end of the first one."""
        self.forget_ended(now)
        call = self._calls.get(claim.call)
        if call is None:
            return self._first(claimant, claim, now)
        if call.claim.arguments != claim.arguments:
            return Verdict("other_arguments")
        if call.state is not _State.UNDER_WAY:
            return _verdict(call)
        if len(call.waiting) >= MOST_WAITING:
            return Verdict("under_way")
        call.waiting[claimant] = claim.call_id
        return None

    def end(
        self, claimant: Claimant, call: str, how: End, answer: Answer | None, now: float
    ) -> Told:
        """Notes how a call ended that this claimant was to carry out; returns who waited for that.

        An answer has its own time, if that is shorter; one that is too large to be kept may be left out.
        """
        ended = self._calls.get(call)
        if ended is None or ended.owner != claimant or ended.state is not _State.UNDER_WAY:
            return []
        if how == "unsent":
            return self._hand_over(ended)
        seconds = (
            ended.claim.seconds if answer is None else min(ended.claim.seconds, answer.seconds)
        )
        heapq.heappush(self._ends, (now + seconds, call))
        ended.state = _State.UNKNOWN if how == "unknown" else _State.NOT_KEPT
        if answer is not None:
            self._keep(ended, answer)
        waiting, ended.waiting = ended.waiting, {}
        return [(one, _verdict(ended)) for one in waiting]

    def leave(self, claimant: Claimant) -> None:
        """Lets a claimant that waits go."""
        for call in self._calls.values():
            call.waiting.pop(claimant, None)

    def worker_ended(self, worker: int, now: float) -> Told:
        """Notes that a worker is gone, and with it what it carried out, wherever that had come to."""
        told: Told = []
        for name, call in list(self._calls.items()):
            for claimant in [one for one in call.waiting if one[0] == worker]:
                del call.waiting[claimant]
            if call.owner[0] == worker:
                told += self.end(call.owner, name, "unknown", None, now)
        return told

    def forget_ended(self, now: float) -> float | None:
        """Forgets the calls whose time is over; returns when that of the next one is, None without any."""
        while self._ends and self._ends[0][0] <= now:
            self._forget(heapq.heappop(self._ends)[1])
        return self._ends[0][0] if self._ends else None

    def _first(self, claimant: Claimant, claim: Claim, now: float) -> Verdict:
        holder = self._holders.get((claim.tenant, claim.key))
        of_key = 0 if holder is None else holder.calls
        of_all = self._tenants.get(claim.tenant, 0)
        if of_key >= max(1, MOST_CALLS // claim.keys) or of_all >= MOST_CALLS:
            wait = self._ends[0][0] - now if self._ends else 1.0
            return Verdict("no_room", wait_seconds=max(1.0, wait))
        call = self._calls[claim.call] = _Call(claim, claimant)
        self._holders.setdefault(call.holder, _Holder()).calls += 1
        self._tenants[claim.tenant] = of_all + 1
        return Verdict("first")

    def _hand_over(self, call: _Call) -> Told:
        """Lets who waited longest carry out what nobody has; forgets the call where nobody waits."""
        if not call.waiting:
            self._forget(call.claim.call)
            return []
        call.owner = next(iter(call.waiting))
        call.call_id = call.waiting.pop(call.owner)
        return [(call.owner, Verdict("first"))]

    def _keep(self, call: _Call, answer: Answer) -> None:
        """Keeps an answer, if it is not too large, in place of the oldest ones of its key."""
        kept = answer.text.encode()
        most = MOST_BYTES // call.claim.keys
        if len(kept) > min(MAX_ANSWER_BYTES, most):
            return
        holder = self._holders[call.holder]
        while holder.bytes + len(kept) > most:
            self._drop_answer(holder, next(iter(holder.answers.values())))
        call.state, call.answer, call.status = _State.ANSWERED, kept, answer.status
        holder.answers[call.claim.call] = call
        holder.bytes += len(kept)

    def _drop_answer(self, holder: _Holder, call: _Call) -> None:
        del holder.answers[call.claim.call]
        holder.bytes -= len(call.answer)
        call.state, call.answer = _State.NOT_KEPT, b""

    def _forget(self, name: str) -> None:
        call = self._calls.pop(name)
        holder = self._holders[call.holder]
        if call.state is _State.ANSWERED:
            self._drop_answer(holder, call)
        holder.calls -= 1
        if not holder.calls:
            del self._holders[call.holder]
        tenant = call.claim.tenant
        self._tenants[tenant] -= 1
        if not self._tenants[tenant]:
            del self._tenants[tenant]


def _verdict(call: _Call) -> Verdict:
    """Returns what a repeat of a call that has ended is told."""
    if call.state is _State.ANSWERED:
        return Verdict("answered", Answer(call.status, call.answer.decode()), call.call_id)
    return Verdict("not_kept" if call.state is _State.NOT_KEPT else "unknown")
