"""Reconciles a ToolServer: resolves its address, reads its credential and its lists, and holds its definitions to the approved ones."""

import asyncio
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from relay_operator import names
from relay_operator.api.tool_server import ToolServer
from relay_operator.cluster import provider_secrets
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.provider_secrets import ProviderSecrets
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.cluster.tools.tool_lists import Address, Listed
from relay_operator.decisions import outcome
from relay_operator.decisions.conditions import Condition
from relay_operator.decisions.ledger.told_before import told_before
from relay_operator.decisions.outcome import Obstacle, Refused
from relay_operator.decisions.route_status import Move
from relay_operator.decisions.tools import definitions, server_conditions
from relay_operator.decisions.tools.definitions import Found, Pins, State
from relay_operator.decisions.tools.differences import Change, Marks
from relay_operator.decisions.tools.server_conditions import Look
from relay_operator.decisions.tools.steadiness import ALL_REST, Restless, Steadiness
from relay_operator.errors import ApiServerRefused, ToolServerUnusable, Unavailable
from relay_operator.manifests import upstreams
from relay_operator.manifests.addresses import forbidden_addresses
from relay_operator.manifests.environment import Upstream
from relay_operator.manifests.tools.tool_use import Offer
from relay_operator.manifests.upstreams import Unusable
from relay_operator.names import Reason
from relay_operator.reconcile.failure_report import report_and_raise, report_status
from relay_operator.reconcile.ledger.ledger_news import LedgerNews
from relay_operator.reconcile.watched_objects import Invalid, Watched
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

_PERIOD_SECONDS: Final = 60.0
"""Between two readings of a server's lists: for so long a changed definition can still be called."""
_AGAIN_SECONDS: Final = 10.0
"""While it does not answer, or names what is not there yet."""
_FRESH_SECONDS: Final = 5.0
"""For so long what was read is taken for what a server lists: an approval need not ask it again."""
_AT_ONCE: Final = 8
_FEW: Final = 20
"""Tenants whose work is done before anybody waits for it."""
_CONFIRMED_BY: Final = 2
"""Failures in a row before a server that answered is told to be out of reach: one question may be lost."""


class Lists(Protocol):
    """Reads the lists of a tool server."""

    async def read(self, address: Address) -> Listed:
        """Raises ToolServerUnusable."""
        ...


@dataclass(slots=True)
class _Record:
    """What is remembered of a server from one look to the next. fingerprint names the form that was asked, at is a time of the event loop.

    approved are marks of approved definitions, by kind and name, each with the digest that it is of.
    """

    fingerprint: str = ""
    at: float = float("-inf")
    listed: Listed | None = None
    look: Look | None = None
    failures: int = 0
    steadiness: Steadiness = field(default_factory=Steadiness)
    restless: Restless = field(default_factory=dict)
    approved: dict[tuple[str, str], tuple[str, Marks]] = field(default_factory=dict)


class ToolServerReconciler:
    """Keeps the offers of the watched state. Of several operators the main one alone asks servers; the others go by status."""

    def __init__(
        self,
        *,
        api: ApiServer,
        lists: Lists,
        watched_state: WatchedState,
        status: StatusWriter,
        announcer: EventRecorder,
        queue: WorkQueue,
        clock: Callable[[], float],
        operator_namespace: str,
        cluster_cidrs: tuple[str, ...] = (),
        ledger_news: LedgerNews | None = None,
    ) -> None:
        self._api = api
        self._lists = lists
        self._watched_state = watched_state
        self._status = status
        self._announcer = announcer
        self._queue = queue
        self._clock = clock
        self._operator_namespace = operator_namespace
        self._cluster_cidrs = cluster_cidrs
        self._ledger_news = ledger_news
        self._records: dict[str, _Record] = {}
        self._asking = asyncio.Semaphore(_AT_ONCE)

    async def reconcile(self, name: str) -> None:
        """Looks at a server, tells its tenants of what is another, and writes its status."""
        watched = self._watched_state.tool_servers.get(name)
        if watched is None:
            self._forget(name)
            return
        now = self._clock()
        if isinstance(watched.resource, Invalid):
            self._offer(watched, self._as_it_was(watched, watched.resource.message))
            refused = Refused(reason=Reason.INVALID_SPEC, message=watched.resource.message)
            await self._report(watched, refused, None, self._pins(watched), now)
            return
        try:
            found = await self._resolve(watched.resource)
            await self._look(watched, watched.resource, found, now)
        except (ApiServerRefused, Unavailable) as error:
            problem = "the operator cannot read what belongs to it"
            self._offer(watched, self._as_it_was(watched, problem))
            obstacle = outcome.obstacle_of(error)
            await report_and_raise(
                error, self._report(watched, obstacle, None, self._pins(watched), now)
            )

    async def report(self, name: str, obstacle: Obstacle) -> None:
        """Writes what ended a reconcile before it could tell."""
        watched = self._watched_state.tool_servers.get(name)
        if watched is not None:
            now = self._clock()
            await self._report(watched, obstacle, None, self._pins(watched), now)

    def _forget(self, name: str) -> None:
        self._records.pop(name, None)
        self._status.forget("ToolServer", "", name)
        if self._watched_state.tool_offers.drop(name):
            self._queue_tenants(name, is_urgent=True)

    async def _look(
        self, watched: Watched[ToolServer], server: ToolServer, found: "_Resolved", now: float
    ) -> None:
        pins = self._pins(watched)
        # tenants do not wait until a slow server has answered
        self._offer(watched, _offer(server, found, pins, self._revision(watched)))
        look = None
        if found.obstacle is None and found.upstream is not None and self._is_main:
            record, before = await self._asked(server, found), pins
            look = record.look
            if record.listed is not None:
                pins = self._settled(server, before, record)
                self._offer(watched, _offer(server, found, pins, self._revision(watched)))
                await self._tell(watched, server, before, pins, record, now)
        await self._report(watched, found.obstacle, look, pins, now)
        kept = self._records.get(watched.name)
        is_listed = look is not None and kept is not None and kept.listed is not None
        # the others come again for what no watch of theirs shows: a credential that is another
        is_well = is_listed if self._is_main else found.obstacle is None
        pause = _PERIOD_SECONDS * random.uniform(0.9, 1.1) if is_well else _AGAIN_SECONDS
        self._queue.add_after(Key("ToolServer", "", watched.name), pause, Urgency.BACKGROUND)

    @property
    def _is_main(self) -> bool:
        return self._watched_state.shards.is_main

    async def _resolve(self, server: ToolServer) -> "_Resolved":
        name, ref = server.metadata.name, server.spec.endpoint.service_ref
        forbidden = forbidden_addresses.obstacle_of(server, self._cluster_cidrs)
        if forbidden:
            return _Resolved(obstacle=Refused(reason=Reason.ADDRESS_FORBIDDEN, message=forbidden))
        upstream: Upstream | Unusable
        if ref is None:
            upstream = upstreams.of_url(server)
        else:
            service = await self._api.get("Service", ref.name, namespace=ref.namespace)
            upstream = upstreams.of_service(ref, name, service, kind="ToolServer")
        if isinstance(upstream, Unusable):
            known = self._watched_state.tool_offers.of(name)
            obstacle = Refused(reason=upstream.reason, message=upstream.message)
            # a Service that is made anew leads where it led
            return _Resolved(upstream=known.upstream if known else None, obstacle=obstacle)
        shown = await provider_secrets.read_of_tool_server(
            self._api, server, namespace=self._operator_namespace
        )
        if not shown.problems:
            return _Resolved(upstream=upstream, shown=shown)
        problem = shown.problems[0]
        obstacle = Refused(reason=problem.reason, message=problem.message)
        return _Resolved(upstream=upstream, shown=shown, obstacle=obstacle)

    async def _asked(self, server: ToolServer, found: "_Resolved") -> _Record:
        """Returns what a server lists, asked anew unless that was a moment ago."""
        record = self._records.setdefault(server.metadata.name, _Record())
        clock = asyncio.get_running_loop().time
        fingerprint = _digest(server.metadata.uid, server.metadata.generation, found)
        if record.fingerprint != fingerprint:
            record.fingerprint, record.listed, record.look, record.failures = (
                fingerprint,
                None,
                None,
                0,
            )
        elif clock() - record.at < _FRESH_SECONDS:
            return record
        try:
            async with self._asking:
                record.listed = await self._lists.read(_address(server, found))
        except ToolServerUnusable as error:
            record.listed = None
            record.failures += 1
            was_well = record.look is not None and not record.look.is_failing
            if not was_well or record.failures >= _CONFIRMED_BY:
                record.look = Look(reason=error.reason, message=str(error))
        else:
            record.failures, record.look = 0, _answered(record.listed)
            record.restless = record.steadiness.look(_found(record.listed).all_by_name, clock())
        record.at = clock()
        return record

    def _settled(self, server: ToolServer, known: Pins | None, record: _Record) -> Pins:
        assert record.listed is not None
        return definitions.settled(
            known,
            _found(record.listed),
            restless=record.restless,
            accepts=server.spec.on_change == "Accept",
            approval=server.metadata.annotations.get(names.ANNOTATION_APPROVE_DEFINITIONS, ""),
        )

    async def _tell(
        self,
        watched: Watched[ToolServer],
        server: ToolServer,
        before: Pins | None,
        pins: Pins,
        record: _Record,
        now: float,
    ) -> None:
        """Posts what is another than it was approved, or was; keeps what the approved ones are made of."""
        listed = record.listed
        assert listed is not None
        known = before.all_by_name if before is not None else {}
        unread = before.unread if before is not None else frozenset()
        news = [
            Change(
                kind=kind,
                name=pin.name,
                is_new=not (known[kind, pin.name].approved if (kind, pin.name) in known else ""),
                before=_marks(record, kind, known.get((kind, pin.name))),
                after=listed.marks.get((kind, pin.name)),
            )
            for kind, pin in pins.all
            if pin.found and kind not in unread and _is_news(known.get((kind, pin.name)), pin)
        ]
        if before is not None and news:
            is_accepted = server.spec.on_change == "Accept" and not record.restless
            told = server_conditions.listed([one.words for one in news])
            changed = any(pin.state is State.CHANGED for _, pin in pins.waiting)
            suspended = Reason.DEFINITION_CHANGED if changed else Reason.DEFINITION_ADDED
            message = (
                f"{told}; accepted (spec.onChange)"
                if is_accepted
                else f"{told}; {server_conditions.advice(pins, watched.name)}"
            )
            move = Move(
                at=float(int(now)),
                reason=(Reason.DEFINITIONS_ACCEPTED if is_accepted else suspended).value,
                message=message,
                canary_percent=0,
            )
            identity = _digest([(one.kind, one.name) for one in news], pins)
            await self._announcer.announce(
                watched.body, kind="ToolServer", action="Look", move=move, identity=identity
            )
        record.approved = {
            (kind, pin.name): (pin.approved, listed.marks[kind, pin.name])
            if pin.state is State.APPROVED
            else record.approved[kind, pin.name]
            for kind, pin in pins.all
            if pin.state is State.APPROVED or (kind, pin.name) in record.approved
        }

    def _told_by_ledger(self, watched: Watched[ToolServer]) -> list[Condition]:
        """Returns what the ledger says of the server's prices; before it has said anything what status has of it stays."""
        if self._ledger_news is None or isinstance(watched.resource, Invalid):
            return []
        if self._ledger_news.standing is None:
            return told_before(self._status.told("ToolServer", watched.body))
        return self._ledger_news.of_tool_server(watched.resource)

    def _pins(self, watched: Watched[ToolServer]) -> Pins | None:
        return definitions.from_status(self._status.told("ToolServer", watched.body))

    def _revision(self, watched: Watched[ToolServer]) -> str:
        """Returns the revision of the protocol by which its lists were read last; empty before the first time."""
        kept = self._records.get(watched.name)
        if kept is not None and kept.listed is not None:
            return kept.listed.revision
        return str(self._status.told("ToolServer", watched.body).get("revision") or "")

    def _as_it_was(self, watched: Watched[ToolServer], problem: str) -> Offer:
        """Returns an offer for who has it in force already: what relays have of the server stays, with what is approved now."""
        known = self._watched_state.tool_offers.of(watched.name) or Offer()
        return replace(known, server=None, problem=problem, **_of_pins(self._pins(watched)))

    def _offer(self, watched: Watched[ToolServer], offer: Offer) -> None:
        """Keeps what tenants can have of the server, and has those looked at that follow it where that is news."""
        before = self._watched_state.tool_offers.of(watched.name)
        if self._watched_state.tool_offers.put(watched.name, offer):
            self._queue_tenants(
                watched.name, is_urgent=before is not None and _takes(before, offer)
            )

    def _queue_tenants(self, server: str, *, is_urgent: bool) -> None:
        """Has those looked at that follow a server, at once where something is taken from them."""
        tenants = sorted(self._watched_state.tool_offers.tenants_of(server))
        # what one server offers is work for all its tenants, and keeps none of them from a change of its own
        calm = Urgency.BACKGROUND if len(tenants) > _FEW else None
        for tenant in tenants:
            self._queue.add(Key("Tenant", "", tenant), Urgency.URGENT if is_urgent else calm)

    async def _report(
        self,
        watched: Watched[ToolServer],
        obstacle: Obstacle | None,
        look: Look | None,
        pins: Pins | None,
        now: float,
    ) -> None:
        if not self._is_main:
            return
        resource = watched.resource
        fields: dict[str, Any] = {
            "url": None if isinstance(resource, Invalid) else resource.url,
            "tenants": len(self._watched_state.tool_offers.tenants_of(watched.name)),
        }
        kept = self._records.get(watched.name)
        if pins is not None:
            fields |= {
                "revision": self._revision(watched) or None,
                "definitions": pins.summary,
                "approve": pins.token or None,
                "tools": definitions.to_status(pins.tools),
                "prompts": definitions.to_status(pins.prompts),
                "resources": _of_status(pins.resources),
                "templates": _of_status(pins.templates),
            }
        await report_status(
            self._status,
            self._announcer,
            "ToolServer",
            watched.body,
            fields,
            [
                *server_conditions.conditions(
                    obstacle,
                    look,
                    pins,
                    server=watched.name,
                    restless=kept.restless if kept else ALL_REST,
                ),
                *self._told_by_ledger(watched),
            ],
            on_its_way=(),
            now=now,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolved:
    """Where a server is and what it is shown, or what keeps it from being asked."""

    upstream: Upstream | None = None
    shown: ProviderSecrets = field(default_factory=ProviderSecrets)
    obstacle: Obstacle | None = None


def _offer(server: ToolServer, found: _Resolved, pins: Pins | None, revision: str) -> Offer:
    return Offer(
        server=server,
        upstream=found.upstream,
        # the operator's own is for nobody else
        entries=found.shown.entries if found.shown.of_tenants is None else {},
        of_tenants=found.shown.of_tenants,
        problem=found.obstacle.message if found.obstacle is not None else "",
        revision=revision,
        **_of_pins(pins),
    )


def _takes(before: Offer, after: Offer) -> bool:
    """Tells whether tenants lose something: a definition that was approved, or the credential that they were given."""
    return not _had(before) <= _had(after)


def _had(offer: Offer) -> set[object]:
    resources = [one for one in (*(offer.resources or ()), *(offer.templates or ())) if one.digest]
    credentials = (*offer.entries.items(), *(offer.of_tenants or {}).items())
    return {*offer.tools, *offer.prompts, *resources, *credentials}


def _of_pins(pins: Pins | None) -> dict[str, Any]:
    if pins is None:
        return {"is_listed": False}
    return {
        "is_listed": True,
        "tools": definitions.in_force(pins.tools),
        "prompts": definitions.in_force(pins.prompts),
        "resources": definitions.resources_in_force(pins.resources),
        "templates": definitions.resources_in_force(pins.templates),
    }


def _of_status(pins: tuple[definitions.Pin, ...] | None) -> list[dict[str, str]] | None:
    return None if pins is None else definitions.to_status(pins)


def _address(server: ToolServer, found: _Resolved) -> Address:
    assert found.upstream is not None
    auth = server.spec.auth
    credential = found.shown.entries.get(names.tool_server_entry(server.metadata.name), "").strip()
    return Address(
        url=server.url,
        upstream=found.upstream,
        header=auth.header if auth else "",
        credential=f"{auth.scheme} {credential}".strip() if auth and credential else "",
        ca_bundle=server.spec.ca_bundle,
    )


def _found(listed: Listed) -> Found:
    return Found(
        tools=listed.tools,
        prompts=listed.prompts,
        resources=listed.resources,
        templates=listed.templates,
    )


def _answered(listed: Listed) -> Look:
    counts = ((listed.tools, "tools"), (listed.prompts, "prompts"))
    more = ((listed.resources, "resources"), (listed.templates, "templates of resources"))
    told = [f"{len(those)} {noun}" for those, noun in (*counts, *more) if those is not None]
    message = f"it lists {', '.join(told[:-1])} and {told[-1]}"
    if listed.unread:
        message += f"; its resources are held to what was approved before, others to their URIs alone: {listed.unread}"
    if listed.skipped:
        message += f"; {listed.skipped} more have names that no grant can have, and are left out"
    return Look(reason=Reason.ANSWERS, message=message)


def _marks(record: _Record, kind: str, known: definitions.Pin | None) -> Marks | None:
    """Returns what the approved definition is made of, where this life of the operator has seen it."""
    if known is None:
        return None
    digest, marks = record.approved.get((kind, known.name), ("", {}))
    return marks if digest == known.approved else None


def _is_news(known: definitions.Pin | None, pin: definitions.Pin) -> bool:
    """Tells whether the server lists a definition otherwise than at the last look, and than approved then."""
    if known is None:
        return True
    return pin.found not in (known.found, known.approved)


def _digest(*parts: object) -> str:
    """Names what is compared; a digest, since credentials are among it."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
