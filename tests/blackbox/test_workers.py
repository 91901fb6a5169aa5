"""Several worker processes behave as one relay."""

import collections
import signal

import pytest
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import Platform, route
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually

WORKERS = 2
CONNECTIONS = 24
"""On separate connections, so that both workers get some: the chance of all on one is one in eight million."""


@pytest.fixture
def pair(new_relay: NewRelay) -> Relay:
    """Starts a relay of two workers."""
    return new_relay(workers=str(WORKERS))


def test_an_acknowledgement_covers_every_worker(pair: Relay, platform: Platform) -> None:
    assert pair.push(platform.document()).workers == WORKERS


def test_a_worker_that_does_not_answer_prevents_the_acknowledgement(
    pair: Relay, platform: Platform
) -> None:
    before = pair.push(platform.document())
    stuck = pair.process.workers()[0]
    pair.process.signal_worker(stuck, signal.SIGSTOP)
    try:
        newer = platform.document()
        answer = pair.push_envelope(platform.signer.sealed(newer))
        assert answer.status >= 500
        assert pair.acknowledged().generation <= before.generation
    finally:
        pair.process.signal_worker(stuck, signal.SIGCONT)
    eventually(
        lambda: pair.acknowledged().generation,
        lambda generation: generation == newer.generation,
        what="the acknowledgement of both workers",
    )


def test_an_acknowledged_push_is_in_force_in_every_worker(
    pair: Relay, platform: Platform, stable: Upstream, backup: Upstream
) -> None:
    for _ in range(3):
        pair.push(platform.document(routes=[route("backup")]))
        assert [pair.chat().status for _ in range(CONNECTIONS)] == [200] * CONNECTIONS
        pair.push(platform.document())
        assert [pair.chat().status for _ in range(CONNECTIONS)] == [200] * CONNECTIONS
    assert (stable.calls(), backup.calls()) == (3 * CONNECTIONS, 3 * CONNECTIONS)


def test_metrics_are_the_sum_over_the_workers(pair: Relay) -> None:
    for _ in range(CONNECTIONS):
        pair.chat()
    eventually(
        lambda: pair.metrics().total("relay_requests_total"),
        lambda total: total == CONNECTIONS,
        what=f"{CONNECTIONS} requests",
    )


def test_metrics_of_a_worker_that_died_are_kept(pair: Relay) -> None:
    for _ in range(CONNECTIONS):
        pair.chat()
    eventually(
        lambda: pair.metrics().total("relay_requests_total"),
        lambda total: total == CONNECTIONS,
        what=f"{CONNECTIONS} requests",
    )
    pair.process.signal_worker(pair.process.workers()[0], signal.SIGKILL)
    eventually(lambda: len(pair.process.workers()), lambda count: count == WORKERS)
    eventually(lambda: pair.ready().status, lambda status: status == 200, what="readiness")
    assert pair.metrics().total("relay_requests_total") == CONNECTIONS


def test_a_session_uses_the_same_side_in_every_worker(
    pair: Relay, platform: Platform, stable: Upstream, canary: Upstream
) -> None:
    stable.behave(completion_tokens=1)
    canary.behave(completion_tokens=2)
    pair.push(platform.document(routes=[route(canary="canary", canary_percent=50)]))
    sides = collections.defaultdict(set)
    for session in range(10):
        for _ in range(6):
            answer = pair.chat(prompt_cache_key=f"session-{session}")
            sides[session].add(answer.json()["usage"]["completion_tokens"])
    assert all(len(seen) == 1 for seen in sides.values())
    assert set().union(*sides.values()) == {1, 2}
