"""Random and damaged requests and answers: every connection ends, nobody gets another's answer, nothing stays behind.

FUZZ_SECONDS sets how long each of them runs (`make fuzz`). A round that fails is made small and printed with its seed:
`FUZZ_SEED=SEED` plays it again.
"""

import os
import random
import time
from collections.abc import Iterator

import pytest
from tests.blackbox.fuzzing.plays import Play, shown
from tests.blackbox.fuzzing.rounds import (
    Maker,
    a_round,
    hostile_client,
    hostile_provider,
    smallest,
    steady_provider,
)
from tests.blackbox.fuzzing.stage import PATIENCE, SETTINGS, Stage
from tests.blackbox.relays import NewRelay
from tests.blackbox.tenant import Signer

SECONDS = float(os.environ.get("FUZZ_SECONDS", "8"))
SEED = os.environ.get("FUZZ_SEED")
MIB = 1024 * 1024
MAX_GROWTH_BYTES = 48 * MIB
"""Of the relay's memory over all rounds: pools and caches fill, and the allocator keeps some of what was used."""
WARM_ROUNDS = 2


@pytest.fixture
def stage(new_unforked_relay: NewRelay, signer: Signer) -> Iterator[Stage]:
    stage = Stage(new_unforked_relay(document="plain", **SETTINGS), signer)
    yield stage
    stage.close()


@pytest.fixture
def patient(new_unforked_relay: NewRelay, signer: Signer) -> Iterator[Stage]:
    stage = Stage(new_unforked_relay(document="plain", **PATIENCE), signer)
    yield stage
    stage.close()


def seeds() -> Iterator[int]:
    """Yields seeds until the time is over."""
    if SEED is not None:
        yield int(SEED)
        return
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        yield random.randrange(2**32)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("maker", [hostile_client, hostile_provider])
def test_whatever_is_sent_or_answered_leaves_nothing_behind(stage: Stage, maker: Maker) -> None:
    play_rounds(stage, maker)


@pytest.mark.timeout(0)
def test_whatever_frames_a_good_answer_its_call_is_served_and_no_other(patient: Stage) -> None:
    play_rounds(patient, steady_provider)


def play_rounds(stage: Stage, maker: Maker) -> None:
    """Plays rounds until the time is over; fails at the first that leaves or does what it must not."""
    settled = rounds = 0
    for rounds, seed in enumerate(seeds(), 1):
        plays = a_round(seed, maker)
        if wrong := stage.play(plays):
            report(stage, plays, wrong, seed)
        if rounds == WARM_ROUNDS:
            settled = stage.relay.process.memory_bytes()
    grown = stage.relay.process.memory_bytes() - settled if settled else 0
    print(f"{rounds} rounds, memory grown by {grown / MIB:.0f} MiB")
    assert grown < MAX_GROWTH_BYTES


def report(stage: Stage, plays: list[Play], wrong: list[str], seed: int) -> None:
    """Fails with the smallest plays that do the same."""
    first = "\n".join(wrong)[:6000]
    small = smallest(plays, first, stage.play)
    texts = "\n".join(shown(play) for play in small)
    again = "\n".join(stage.play(small))[:6000]
    pytest.fail(
        f"FUZZ_SEED={seed}\n{first}\n--- smallest, plays again as {again or 'nothing'}\n{texts}"[
            :30_000
        ]
    )
