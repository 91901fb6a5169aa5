"""Plays many connections at once against a running relay, and looks whether everything is as it was before."""

import asyncio
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tests.blackbox.fuzzing.client import BadAnswer, perform
from tests.blackbox.fuzzing.plays import SMALL_BYTES, Play, shown
from tests.blackbox.fuzzing.provider import FuzzedProvider
from tests.blackbox.relays import Metrics, Relay
from tests.blackbox.tenant import Signer, provider, route, side

from relay_contract.document import Limits, Queue

AT_ONCE: Final = 32
"""No more than the limits remember exactly (MOST_REMEMBERED), so that a lost token shows."""
SETTLE_SECONDS: Final = 15.0
GAUGES: Final = ("relay_in_flight", "relay_queue_depth", "relay_client_connections", "relay_buffered_bytes")  # fmt: skip
SECRETS: Final = {name: f"sk-upstream-{name}" for name in ("stable", "canary", "backup")}
UPSTREAM_MODELS: Final = frozenset({"gpt-4.1", "gpt-4.1-mini", "text-embedding-3-small"})
UNSENT: Final = frozenset({"unreachable", "cancelled", "no_key", "failed", "timeout", "invalid"})
"""Outcomes of attempts without a status of which the provider need not have seen anything.

invalid: what it sent beyond an earlier answer came when the connection had its next call, which the relay then reset.
"""
LIMITS: Final = Limits(tokens_per_minute=20_000, burst_seconds=3600)
"""A large bucket that refills slowly, so that a hold which stays open shows."""
ALARMS: Final = ("Traceback", "internal_error", "Exception", "exception")
SETTINGS: Final = dict.fromkeys((*("header_timeout_seconds", "body_timeout_seconds", "idle_timeout_seconds", "slow_reader_seconds"), *("first_byte_timeout_seconds", "upstream_idle_timeout_seconds", "connect_timeout_seconds")), "1")  # fmt: skip
"""Short deadlines for the relay, so that an end that is due comes soon."""
PATIENCE: Final = dict.fromkeys(SETTINGS, "10")
"""Deadlines that no good call of a round exceeds."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Before:
    """What was so before a round."""

    log_size: int
    tokens: int
    at: float


class Stage:
    """A relay, the provider behind it, and the loop in which clients and provider run."""

    def __init__(self, relay: Relay, signer: Signer) -> None:
        self.relay = relay
        self._signer = signer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._provider = FuzzedProvider(tuple(SECRETS.values()), UPSTREAM_MODELS)
        ports = self._run(self._provider.listen())
        self._urls = {
            name: f"http://127.0.0.1:{port}/v1" for name, port in zip(SECRETS, ports, strict=True)
        }
        for name, secret in SECRETS.items():
            relay.give_key(name, secret)

    def close(self) -> None:
        """Ends the provider and the loop."""
        self._run(self._provider.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def play(self, plays: Sequence[Play]) -> list[str]:
        """Plays the connections; returns what was wrong, with the play where it is known."""
        self._fresh_document()
        before = self._look()
        self._provider.prepare(list(plays))
        wrong = self._run(self._perform(plays))
        wrong += self._provider.faults
        return wrong or self._unsettled(before) or self._miscounted(before, plays)

    # -- one round -------------------------------------------------------------------------------------------------

    def _fresh_document(self) -> None:
        """Gives the relay new sides and full buckets, so that no breaker and no limit remembers the last round."""
        canary, fallback = side("canary"), (side("backup"),)
        for limits in (Limits(), LIMITS):
            self.relay.push(
                self._signer.document(
                    providers=[provider(name, url) for name, url in self._urls.items()],
                    routes=[
                        route(
                            "stable",
                            canary,
                            canary_percent=30,
                            shadow_percent=30,
                            fallback=fallback,
                        )
                    ],
                    queue=Queue(concurrency=AT_ONCE // 4, max_depth=100, max_wait_seconds=5),
                    limits=limits,
                )
            )

    def _look(self) -> Before:
        return Before(self.relay.log.stat().st_size, self._tokens_left(), time.monotonic())

    def _tokens_left(self) -> int:
        answer = self.relay.ask("GET", "/v1/me", headers={"connection": "close"})
        left: int = answer.json()["limits"]["remaining_here"]["tokens"]
        return left

    async def _perform(self, plays: Sequence[Play]) -> list[str]:
        free = asyncio.Semaphore(AT_ONCE)
        markers = frozenset(play.marker.encode() for play in plays)

        async def one(play: Play) -> list[str]:
            async with free:
                try:
                    poor = await perform(play, self.relay.port, markers)
                except BadAnswer as error:
                    return [f"{error}\n  in {shown(play)}"]
            played = self._provider.played
            return [
                f"{name!r} was answered by the provider, and got {said}\n  in {shown(play)}"
                for name, said in poor
                if played[name]
            ]

        results = await asyncio.gather(*(one(play) for play in plays))
        return [wrong for result in results for wrong in result]

    # -- what must hold after it -----------------------------------------------------------------------------------

    def _unsettled(self, before: Before) -> list[str]:
        """Waits until nothing is held any more; returns what still is when the time is up."""
        until = time.monotonic() + SETTLE_SECONDS
        while wrong := self._held(self.relay.metrics(), self.relay.slo(), before):
            if time.monotonic() > until:
                return wrong
            time.sleep(0.02)
        return []

    def _held(self, metrics: Metrics, slo: Metrics, before: Before) -> list[str]:
        wrong = [f"{name} stays at {value}" for name in GAUGES if (value := metrics.total(name))]
        started, *ended = (slo.total(f"relay_slo_attempts_{what}_total") for what in ("started", "finished", "cancelled"))  # fmt: skip
        if started != sum(ended):
            wrong.append(f"{started} attempts started, finished and cancelled: {ended}")
        lines = self._usage(before)
        if missing := Counter(self._provider.seen) - Counter(
            {name: len(found) for name, found in lines.items()}
        ):
            wrong.append(f"no usage event for what the provider saw: {missing}")
        return wrong

    def _written(self, before: Before) -> list[str]:
        with self.relay.log.open("rb") as log:
            log.seek(before.log_size)
            written = log.read()
        # a line that is being written is seen in parts
        return written[: written.rfind(b"\n") + 1].decode(errors="replace").splitlines()

    def _usage(self, before: Before) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in self._written(before):
            if '"event":"usage"' in line:
                event = json.loads(line)
                found[event["request_id"]].append(event)
        return found

    def _miscounted(self, before: Before, plays: Sequence[Play]) -> list[str]:
        usage = self._usage(before)
        events = [event for found in usage.values() for event in found]
        wrong = [f"logged: {line[:500]}" for line in self._written(before) if any(alarm in line for alarm in ALARMS)]  # fmt: skip
        for name, found in usage.items():
            sent = [
                event
                for event in found
                if event["status"] is not None or event["outcome"] not in UNSENT
            ]
            if len(sent) > self._provider.seen[name]:
                wrong.append(
                    f"{len(sent)} attempts of {name} are booked, the provider saw {self._provider.seen[name]}: {found}"
                )
        ids = Counter(event["event_id"] for event in events)
        wrong += [
            f"event {name} is written {count} times" for name, count in ids.items() if count > 1
        ]
        return wrong or self._mischarged(before, events, plays)

    def _mischarged(
        self, before: Before, events: list[dict[str, Any]], plays: Sequence[Play]
    ) -> list[str]:
        """Compares what is left of the limit with what was booked: no hold may stay, none may be given back twice.

        A limit gives less back than was booked too much while many calls are under way, so that large bodies would hide
        a hold of a small one; a limit that is used up hides all.
        """
        sent = sum(play.sent_bytes for play in plays if play.sent_bytes > SMALL_BYTES)
        charged = sum(
            event["tokens"]["input"] + event["tokens"]["output"]
            for event in events
            # copies cost the tenant nothing
            if event["tokens"] and event["side"] != "shadow"
        )
        left = self._tokens_left()
        refilled = (time.monotonic() - before.at) * (LIMITS.tokens_per_minute or 0) / 60
        due = before.tokens - charged
        if due <= 0 or due - sent - 10 <= left <= due + refilled + 10:
            return []
        return [
            f"{left} tokens are left of {before.tokens} with {charged} booked and {refilled:.0f} refilled"
        ]
