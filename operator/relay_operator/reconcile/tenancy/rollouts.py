"""Rollouts of relays: a tenant's own change at once, a change of the platform a few tenants at a time.

What is in flight is judged by the Deployments as they are, so an operator that starts again goes on where it was.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster import live_fields
from relay_operator.cluster.api_server import ApiServer
from relay_operator.decisions.rollouts import changes, deployments, waves
from relay_operator.decisions.rollouts.changes import Change, Finding, Patience, Unwritten
from relay_operator.decisions.rollouts.deployments import Cause, Rollout
from relay_operator.decisions.rollouts.waves import Judgement, Member, Wave
from relay_operator.manifests import workload
from relay_operator.manifests.environment import Manifest, Platform
from relay_operator.reconcile.fleet.shown_rollouts import ShownRollouts
from relay_operator.reconcile.publishing.signed_notes import SignedNotes
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

_GATHERING_SECONDS = 10.0
"""A look at every tenant takes less, but for one that cannot be looked at."""
_LOOK_AGAIN_SECONDS = 1.0
"""Until a watch that is behind has shown what was written."""


@dataclass(frozen=True, slots=True)
class _Held:
    """The template that a waiting tenant keeps; None where nobody knows which one that is."""

    identity: str
    template: Manifest | None
    is_foreign: bool = False


class Rollouts:
    """Chooses the Deployment that each tenant is given now. notes sign what it was given."""

    def __init__(
        self,
        *,
        api: ApiServer,
        watched_state: WatchedState,
        queue: WorkQueue,
        notes: SignedNotes,
        platform: Platform,
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._watched_state = watched_state
        self._queue = queue
        self._notes = notes
        self._platform = platform
        self._clock = clock
        self._shown = ShownRollouts(api=api, watched_state=watched_state, clock=clock)
        self._waiting: dict[str, Judgement] = {}
        self._held: dict[str, _Held] = {}
        self._begun: dict[str, str] = {}
        self._given_last: dict[str, str] = {}
        self._unwritten: dict[str, Unwritten] = {}
        self._unjudged: set[str] | None = None
        self._born = 0.0
        self._patience: dict[str, Patience] = {}
        self._told_stop: tuple[str, ...] = ()

    async def deployment(self, spec: Tenant) -> Manifest | None:
        """Returns the Deployment as it is to be now; None to leave it as it is."""
        name = spec.metadata.name
        template = workload.pod_template(spec, self._platform)
        wanted, own = deployments.identify(template), spec.origin.pods
        rollout, change = self._change(name, wanted, own)
        if change is Change.PLATFORM and not self._shown.are_current:
            if await self._shown.look():
                self._queue.add_after(Key("Tenant", "", name), _LOOK_AGAIN_SECONDS)
            rollout, change = self._change(name, wanted, own)
        self._note_judged(name)
        if rollout is None or change is not Change.PLATFORM:
            self._leave_line(name)
            if name in self._begun:
                self._begun[name] = wanted
            cause = changes.cause_of(change, rollout)
            own = own or (rollout.note.own if rollout is not None else "")
            self._wake_others(name)
            return self._given(spec, template, wanted, own, cause)
        judgement = waves.judge(changes.facts_before(rollout))
        if self._may_begin(name, wanted, judgement):
            self._leave_line(name)
            cause = Cause.TENANT if judgement is Judgement.AILING else Cause.PLATFORM
            if cause is Cause.PLATFORM:
                self._begun[name] = wanted
            self._wake_others(name)
            return self._given(spec, template, wanted, own, cause)
        return await self._kept(spec, template, wanted, own)

    def _change(self, name: str, wanted: str, own: str) -> tuple[Rollout | None, Change]:
        """Returns the Deployment as it was last shown, and whose change makes the wanted template another one than it has."""
        rollout = self._watched_state.rollouts.get(names.tenant_namespace(name))
        return rollout, changes.change_of(rollout, template=wanted, own=own)

    def _may_begin(self, name: str, wanted: str, judgement: Judgement) -> bool:
        if self._begun.get(name) == wanted:
            return True
        self._waiting[name] = judgement
        if not self._knows_all():
            self._queue.add_after(Key("Tenant", "", name), _GATHERING_SECONDS)
            return judgement is Judgement.OVERTAKEN
        wave = self._wave()
        if name not in wave.begin:
            # the last one that was judged lets the first begin
            self._queue_all({*wave.begin})
        return name in wave.begin

    def _leave_line(self, name: str) -> None:
        self._waiting.pop(name, None)
        self._held.pop(name, None)

    def _wave(self) -> Wave:
        """Judges everyone whose judgement counts now."""
        members = [*self._flying()]
        # whoever waits has no chance while all places are taken; it is not worth to sort them
        is_full = len(members) >= self._platform.rollouts_at_once
        candidates = {Judgement.OVERTAKEN}
        if not is_full and self._knows_all():
            candidates = {Judgement.OVERTAKEN, Judgement.WAITING, Judgement.AILING}
        members += (Member(*one) for one in self._waiting.items() if one[1] in candidates)
        return waves.next_of(members, most=self._platform.rollouts_at_once)

    def _knows_all(self) -> bool:
        """Tells whether every tenant was judged in this life, so that they begin in their order, whoever is looked at first; and by its
        Deployment as it is.

        One that cannot be judged is waited for a moment alone.
        """
        if not self._shown.are_current:
            return False
        if self._unjudged and self._clock() - self._born >= _GATHERING_SECONDS:
            self._unjudged.clear()
        return not self._unjudged

    def _note_judged(self, name: str) -> None:
        if self._unjudged is None:
            self._born = self._clock()
            namespaces = filter(self._watched_state.owns, self._watched_state.rollouts)
            self._unjudged = {one.removeprefix(names.NAMESPACE_PREFIX) for one in namespaces}
        self._unjudged.discard(name)

    def _flying(self) -> Iterator[Member]:
        now = self._clock()
        for name in self._begun.keys() | self._watched_state.flying_tenants():
            if name not in self._waiting and self._is_known(name):
                stuck = self._is_stuck(name, now)
                yield Member(name, Judgement.STUCK if stuck else Judgement.MOVING)

    def _is_known(self, name: str) -> bool:
        """Tells whether the tenant counts; what one begun here has is told by its Deployment once that was seen."""
        watched = self._watched_state.tenants.get(name)
        space = names.tenant_namespace(name)
        if watched is None or watched.is_being_deleted or not self._watched_state.owns(space):
            return False
        rollout = self._watched_state.rollouts.get(space)
        if name not in self._begun or rollout is None:
            return True
        if rollout.note.template != self._begun[name]:
            # its Deployment was written, and no watch has shown that yet
            return True
        del self._begun[name]
        return changes.is_flying(rollout)

    def is_everywhere(self, name: str) -> bool:
        """Tells whether all pods of a tenant are of the template that the platform and its spec ask for now."""
        rollout = self._watched_state.rollouts.get(names.tenant_namespace(name))
        if rollout is None or name in self._waiting:
            return False
        return rollout.is_done and rollout.note.template == self._given_last.get(name)

    def note_unwritten(self, name: str, why: str) -> None:
        """Takes in that the Deployment which the tenant was given last may not have been written."""
        known = self._unwritten.get(name)
        since = known.since if known is not None else self._clock()
        self._unwritten[name] = Unwritten(since=since, why=why)
        self._wake_others(name)

    def note_written(self, name: str) -> None:
        """Takes in that everything which the tenant was given last is written."""
        if self._unwritten.pop(name, None) is not None:
            self._wake_others(name)

    def _still_unwritten(self, name: str) -> Unwritten | None:
        rollout = self._watched_state.rollouts.get(names.tenant_namespace(name))
        if rollout is not None and rollout.note.template == self._given_last.get(name):
            self._unwritten.pop(name, None)
        return self._unwritten.get(name)

    def _is_stuck(self, name: str, now: float) -> bool:
        space = names.tenant_namespace(name)
        unwritten = self._still_unwritten(name)
        if unwritten is not None:
            return unwritten.is_for_long(now)
        rollout = self._watched_state.rollouts.get(space)
        if rollout is None or rollout.is_done:
            self._patience.pop(name, None)
            return False
        patience = self._patience.setdefault(name, Patience())
        patience.look(rollout, "; ".join(self._watched_state.troubles(space)), now)
        return rollout.is_late or patience.is_over(now)

    def _wake_others(self, name: str) -> None:
        """Queues whoever may begin now; and all that wait when they have to tell of another stop."""
        if not self._waiting:
            return
        wave = self._wave()
        concerned = {*wave.begin}
        if self._told_stop != wave.stopped_by:
            self._told_stop = wave.stopped_by
            concerned |= self._waiting.keys()
        self._queue_all(concerned - {name})

    def _queue_all(self, tenants: set[str]) -> None:
        for one in sorted(tenants):
            self._queue.add(Key("Tenant", "", one), reset_backoff=False)

    def _given(
        self, spec: Tenant, template: Manifest, identity: str, own: str, cause: Cause
    ) -> Manifest:
        self._given_last[spec.metadata.name] = identity
        note = self._notes.sign(spec.metadata.uid, deployments.note_text(own, template))
        annotations = {names.ANNOTATION_TEMPLATE: note, names.ANNOTATION_ROLLED_BY: cause.value}
        return workload.deployment(spec, self._platform, template=template, notes=annotations)

    async def _kept(
        self, spec: Tenant, wanted: Manifest, identity: str, own: str
    ) -> Manifest | None:
        """Returns the Deployment with the template that it was given last, so that what others do to it is undone."""
        name, space = spec.metadata.name, names.tenant_namespace(spec.metadata.name)
        rollout = self._watched_state.rollouts[space]
        held = self._held.get(name)
        if held is None or held.identity != rollout.note.template:
            live = await self._api.get("Deployment", names.RELAY, namespace=space)
            held = self._read(spec, live)
            if held.is_foreign:
                self._leave_line(name)
                return self._given(spec, wanted, identity, own, Cause.TENANT)
            self._held[name] = held
        if held.template is None:
            return None
        return self._given(spec, held.template, held.identity, rollout.note.own, rollout.cause)

    def _read(self, spec: Tenant, live: Manifest | None) -> _Held:
        """Reads what a Deployment was given; it is foreign where somebody else has had a hand in it, or where it is gone."""
        annotations = (live or {}).get("metadata", {}).get("annotations") or {}
        signed = str(annotations.get(names.ANNOTATION_TEMPLATE, ""))
        text = self._notes.read(spec.metadata.uid, signed)
        if text is not None:
            note, template = deployments.read_note(text)
            return _Held(note.template, dict(template))
        usual = workload.deployment(spec, self._platform)
        is_foreign = bool(live is None or signed or live_fields.compare(live, usual).managers)
        # without a note it is of an operator that wrote none
        return _Held("", None, is_foreign=is_foreign)

    def finding(self, name: str) -> Finding:
        """Tells how the tenant's rollout stands; it is looked at again when its patience ends."""
        if name in self._waiting:
            most = self._platform.rollouts_at_once
            return changes.held(self._wave().stopped_by, most=most)
        now = self._clock()
        is_stuck = self._is_stuck(name, now)
        unwritten = self._unwritten.get(name)
        if unwritten is not None:
            return changes.unwritten(
                unwritten.why,
                is_stuck=is_stuck,
                is_there=names.tenant_namespace(name) in self._watched_state.rollouts,
                by_platform=name in self._begun,
            )
        patience = self._patience.get(name, Patience())
        seconds = patience.seconds_left(now)
        if seconds:
            self._queue.add_after(Key("Tenant", "", name), seconds)
        return changes.under_way(
            self._watched_state.rollouts.get(names.tenant_namespace(name)),
            trouble=patience.trouble,
            is_stuck=is_stuck,
            deadline_seconds=self._platform.rollout_seconds,
        )

    def forget(self, name: str) -> None:
        """Forgets a tenant that is gone, which gives its place to another."""
        self._leave_line(name)
        self._begun.pop(name, None)
        self._patience.pop(name, None)
        self._unwritten.pop(name, None)
        self._given_last.pop(name, None)
        if self._unjudged:
            self._unjudged.discard(name)
        self._wake_others(name)
