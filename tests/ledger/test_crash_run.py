"""Every attempt that a provider noted is in the ledger once, with its tokens and its money, whatever is killed meanwhile.

A thousand calls and a kill of each kind, as a rule; CRASH_CALLS=100000 makes the run of docs/results/ledger.md. CRASH_SEED draws the same
victims and callers again; the moments are the machine's.
"""

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.blackbox.waiting import eventually
from tests.ledger.crash_run.callers import Callers
from tests.ledger.crash_run.referee import Verdict, booked_attempts, compare, noted_calls
from tests.ledger.crash_run.scene import Scene, Store, running

from relay_ledger.store.databases import open_database
from relay_ledger.store.ledger import Ledger

CALLS: Final = int(os.environ.get("CRASH_CALLS", "1000"))
KILLS: Final = int(os.environ.get("CRASH_KILLS", "20" if CALLS >= 100_000 else "6"))
SLOWEST_CALLS_PER_SECOND: Final = 20
EVER: Final = {"start": 0, "end": 2**60}
MOST_SHOWN: Final = 20
MOST_UNPROVEN: Final = max(3, CALLS // 1000)
"""Attempts that were sent into a connection which the provider was closing: few, since such a connection is closing for a moment."""

pytestmark = pytest.mark.timeout(2400 + CALLS / SLOWEST_CALLS_PER_SECOND)


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_the_ledger_is_what_the_providers_noted_attempt_by_attempt(
    store: Store, tmp_path: Path
) -> None:
    seed = int(os.environ.get("CRASH_SEED", time.time_ns() % 1_000_000))
    chance = random.Random(seed)
    say(f"{store}: CRASH_SEED={seed} CRASH_CALLS={CALLS}, {KILLS} kills")
    with running(store, tmp_path, chance=chance) as scene:
        callers = Callers(scene.relay.port, calls=CALLS, seed=seed)
        began = time.monotonic()
        callers.start()
        killed = kill_at_random(scene, callers)
        callers.join()
        seconds = time.monotonic() - began
        scene.settle()
        verdict = judge(scene, callers.answers.by_name)
        say(f"{store}: killed {', '.join(f'{name} {count}' for name, count in killed.items())}")
        say(f"{store}: {told(callers, verdict)}; {seconds:.0f} s")
        for difference in verdict.differences[:MOST_SHOWN]:
            say(f"{store}: {difference}")
        assert verdict.differences == []
        assert verdict.unproven <= MOST_UNPROVEN
        check_balance(scene, verdict)


def kill_at_random(scene: Scene, callers: Callers) -> Counter[str]:
    """Kills, each time at a random moment of the next part of the run, all kinds of processes equally often."""
    victims = scene.victims
    names = [list(victims)[number % len(victims)] for number in range(KILLS)]
    scene.chance.shuffle(names)
    for number, name in enumerate(names):
        part = scene.chance.uniform(number, number + 1) / (KILLS + 1)
        while callers.made < part * CALLS and not callers.are_done:
            time.sleep(0.005)
        scene.trouble(number)
        victims[name]()
    return Counter(names)


def judge(scene: Scene, answered: dict[str, str]) -> Verdict:
    """Compares both providers' journals with the ledger, and its sums with its postings."""
    noted = [call for name in scene.providers for call in noted_calls(name, scene.journal(name))]
    money = {
        event_id: (int(cost), int(charge))
        for event_id, cost, charge in scene.ledger.rows(
            "SELECT event_id, sum(cost_pico), sum(charge_pico) FROM postings GROUP BY event_id"
        )
    }
    verdict = compare(noted, booked_attempts(scene.ledger.records(), money), answered)
    verdict.differences += _differences_of_sums(scene, verdict)
    return verdict


def _differences_of_sums(scene: Scene, verdict: Verdict) -> Sequence[str]:
    engine = open_database(scene.ledger.address)
    try:
        ledger = Ledger(engine)
        differences = [f"sums differ: {one}" for one in ledger.differences(**EVER)]
    finally:
        engine.dispose()
    ((cost,),) = scene.ledger.rows("SELECT sum(cost_pico) FROM sums")
    if int(cost) != verdict.cost:
        differences.append(f"the sums say {cost} pico-USD, the attempts {verdict.cost}")
    if scene.ledger.quarantined():
        differences.append(f"{scene.ledger.quarantined()} lines in quarantine")
    return differences


def check_balance(scene: Scene, verdict: Verdict) -> None:
    """Waits for the metrics of what was compared: everything that was opened is closed, swept or in flight."""

    def counted() -> dict[str, float]:
        metric = scene.ledger.process.metric
        states = ("opened", "unopened", "closed", "swept")
        found = {name: metric(f'relay_ledger_attempts{{state="{name}"}}') for name in states}
        return {**found, "in_flight": metric("relay_ledger_in_flight_attempts")}

    seen = eventually(
        counted,
        lambda found: found["closed"] == verdict.closed,
        within_seconds=60,
        what=f"{verdict.closed} closed attempts in the metrics",
    )
    assert seen["opened"] + seen["unopened"] == verdict.booked
    assert seen["opened"] + seen["unopened"] == (seen["closed"] + seen["swept"] + seen["in_flight"])
    assert seen["swept"] + seen["in_flight"] == verdict.left_open


def told(callers: Callers, verdict: Verdict) -> str:
    """Writes the figures of a run."""
    answers = callers.answers
    return (
        f"{callers.made} calls, {len(answers.by_name)} answered whole, {answers.left} left by their callers, {answers.errors}"
        f" errors, {answers.broken} broken off; {verdict.noted} attempts noted by the providers, {verdict.booked} booked,"
        f" {verdict.by_answer} of them compared by the answer's id, {verdict.never_sent} never sent,"
        f" {verdict.unproven} sent in vain; {verdict.closed} closed,"
        f" {verdict.left_open} left open by a kill; {verdict.reported} with the provider's own count;"
        f" {verdict.cost / 10**12:.6f} USD; {len(verdict.differences)} differences"
    )


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
