"""What the provider's own log has is in the ledger, attempt by attempt, whoever is killed, away, full or damaged meanwhile."""

import json
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.blackbox.ledgers import BOOKED_SECONDS, BookingLedger, kill, shippers, workers
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import Platform, route, side
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.unit.relay.outbox.attempts import FIELDS, call_id, closing

from relay.outbox.attempt_writer import AttemptWriter

pytestmark = pytest.mark.timeout(240)
CALLERS = 4
FEWEST_KILLS = 5
CALLS = 60
"""Of each caller."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[BookingLedger]:
    ledger = BookingLedger(tmp_path / "ledger")
    ledger.process.start()
    yield ledger
    ledger.process.end()


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


def files(outbox: Path) -> list[Path]:
    """Returns what an outbox has on disk, in its own directory and in that of tool calls."""
    return [path for path in outbox.rglob("*") if path.is_file()]


class Callers:
    """Make calls until they have made all; each call has a name of its own, and some of them fail while a process is dead."""

    def __init__(self, relay: Relay, calls: int = CALLS) -> None:
        self._relay = relay
        self.answered: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._call, args=(number, calls)) for number in range(CALLERS)
        ]
        for thread in self._threads:
            thread.start()

    def _call(self, caller: int, calls: int) -> None:
        for number in range(calls):
            name = f"call-{caller}-{number}"
            try:
                answer = self._relay.chat(headers={"x-request-id": name})
            except (OSError, AssertionError):
                # its process was killed; a caller that gives up for a moment, as clients do
                time.sleep(0.1)
                continue
            if answer.status == 200:
                self.answered[name] += 1

    @property
    def are_done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
        assert self.are_done


def check_books(ledger: BookingLedger, provider: Upstream, answered: Counter[str]) -> None:
    """Waits until the ledger knows every attempt that the provider has in its log, and compares the two."""
    seen = Counter(one.header("x-request-id") or "" for one in provider.received())

    def booked() -> Counter[str]:
        attempts = {one["id"]: one.get("requestId", "") for one in ledger.records()}
        return Counter(attempts.values())

    eventually(
        booked,
        lambda found: all(found[name] >= count for name, count in seen.items()),
        within_seconds=BOOKED_SECONDS,
        what=f"{sum(seen.values())} attempts of the provider's log in the ledger",
    )
    found = booked()
    beyond = found - seen
    closed = ledger.closed()
    assert Counter(Counter(one["id"] for one in closed).values()).keys() <= {1}
    # opened, and killed before a byte had left
    ends = {one["requestId"]: one["usageSource"] for one in closed}
    assert all(ends.get(name, "none") in ("none", "unknown") for name in beyond), beyond
    # who got an answer is billed for it by the provider's own count
    delivered = {one["requestId"] for one in closed if one["delivered"]}
    assert set(answered) <= delivered
    assert all(ends[name] == "provider" for name in answered)
    assert ledger.quarantined() == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_workers_the_shipper_and_the_ledger_are_killed_at_any_moment(
    seed: int, new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    chance = random.Random(seed)
    stable.behave(latency_ms=15, completion_tokens=8)
    relay = new_relay(
        document="plain", **ledger.settings(outbox, workers="2", outbox_mebibytes="16")
    )
    callers = Callers(relay)
    kills = 0
    while not callers.are_done or kills < FEWEST_KILLS:
        kills += 1
        time.sleep(chance.uniform(0.05, 0.4))
        victim = chance.choice(["worker", "shipper", "ledger"])
        if victim == "worker":
            kill(workers(relay)[:1])
        elif victim == "shipper":
            kill(shippers(relay))
        else:
            ledger.process.kill()
            time.sleep(chance.uniform(0, 0.3))
            ledger.process.start()
    callers.join()
    check_books(ledger, stable, callers.answered)


@pytest.mark.parametrize("seed", [3])
def test_the_whole_container_is_killed_and_comes_back(
    seed: int, new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    chance = random.Random(seed)
    stable.behave(latency_ms=15, completion_tokens=8)
    relay = new_relay(document="plain", **ledger.settings(outbox))
    callers = Callers(relay, 25)
    for _ in range(4):
        time.sleep(chance.uniform(0.2, 0.8))
        relay.restart()
        relay.wait_ready()
    callers.join()
    check_books(ledger, stable, callers.answered)


def test_a_supervisor_that_is_killed_alone_leaves_what_the_next_one_delivers(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    ledger.process.kill()
    relay = new_relay(document="plain", **ledger.settings(outbox))
    callers = Callers(relay, 5)
    callers.join()
    kill([relay.process.pid])
    eventually(relay.process.members, lambda left: not left, what="the end of its processes")
    relay.restart()
    relay.wait_ready()
    ledger.process.start()
    check_books(ledger, stable, callers.answered)


def test_a_ledger_that_is_away_costs_nothing_and_everything_arrives(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    ledger.process.kill()
    relay = new_relay(document="plain", **ledger.settings(outbox))
    callers = Callers(relay, 20)
    callers.join()
    assert sum(callers.answered.values()) == CALLERS * 20
    eventually(
        lambda: relay.metrics().total("relay_outbox_deliveries_total", answer="none"),
        lambda count: count > 0,
        what="a delivery in vain",
    )
    assert relay.metrics().total("relay_outbox_records_waiting") == CALLERS * 20
    assert relay.metrics().total("relay_outbox_oldest_seconds") > 0
    assert ledger.records() == []
    ledger.process.start()
    check_books(ledger, stable, callers.answered)
    eventually(
        lambda: relay.metrics().total("relay_outbox_records_waiting"),
        lambda count: count == 0,
        what="an empty outbox",
    )
    assert '"event":"ledger_back"' in relay.output().replace(" ", "")


def test_a_token_that_is_refused_keeps_records_until_there_is_a_good_one(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    good = ledger.token_file.read_text()
    ledger.token_file.write_text(good[:-4] + "0000")
    relay = new_relay(document="plain", **ledger.settings(outbox))
    callers = Callers(relay, 3)
    callers.join()
    eventually(
        lambda: relay.metrics().total("relay_outbox_deliveries_total", answer="401"),
        lambda count: count > 0,
        what="a refused delivery",
    )
    assert "ledger_refuses" in relay.output()
    assert good[-16:] not in relay.output()
    ledger.token_file.write_text(good)
    check_books(ledger, stable, callers.answered)


def test_a_drain_delivers_everything_and_leaves_no_file(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    relay = new_relay(document="plain", **ledger.settings(outbox))
    callers = Callers(relay, 10)
    callers.join()
    relay.process.send_signal(signal.SIGTERM)
    assert relay.process.wait(30) == 0
    assert len(ledger.closed()) == CALLERS * 10
    assert files(outbox) == []
    check_books(ledger, stable, callers.answered)


def test_a_pod_that_ends_while_the_ledger_is_away_says_what_it_leaves(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    ledger.process.kill()
    relay = new_relay(
        document="plain",
        **ledger.settings(
            outbox, drain_seconds="2", drain_accept_seconds="0", outbox_drain_seconds="1"
        ),
    )
    callers = Callers(relay, 5)
    callers.join()
    relay.process.send_signal(signal.SIGTERM)
    assert relay.process.wait(20) == 0
    (told,) = [line for line in relay.output().splitlines() if "outbox_left" in line]
    assert (json.loads(told)["level"], json.loads(told)["records"]) == ("error", CALLERS * 5)
    # the next container of the pod delivers it; without one it is lost with the volume
    assert files(outbox)
    ledger.process.start()
    relay.restart()
    check_books(ledger, stable, callers.answered)


def test_a_pod_that_ends_just_after_its_shipper_was_killed_delivers_everything(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    ledger.process.kill()
    relay = new_relay(document="plain", **ledger.settings(outbox, drain_accept_seconds="0"))
    callers = Callers(relay, 5)
    callers.join()
    ledger.process.start()
    kill(shippers(relay))
    relay.process.send_signal(signal.SIGTERM)
    assert relay.process.wait(40) == 0
    assert files(outbox) == []
    check_books(ledger, stable, callers.answered)


def test_a_shipper_that_is_killed_while_its_pod_ends_is_started_again_and_delivers_everything(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    ledger.process.kill()
    settings = ledger.settings(outbox, drain_accept_seconds="0", outbox_drain_seconds="20")
    relay = new_relay(document="plain", **settings)
    callers = Callers(relay, 5)
    callers.join()
    relay.process.send_signal(signal.SIGTERM)
    # only the one that delivers is left, and the ledger is still away
    eventually(lambda: not workers(relay), what="the end of the workers")
    kill(shippers(relay))
    eventually(lambda: "shipper_ended" in relay.output(), what="the end of the shipper")
    ledger.process.start()
    assert relay.process.wait(40) == 0
    assert files(outbox) == []
    check_books(ledger, stable, callers.answered)


def test_a_full_outbox_serves_on_counts_what_it_drops_and_goes_on(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    ledger.process.kill()
    _occupy(outbox, segments=4)
    relay = new_relay(document="plain", **ledger.settings(outbox, outbox_mebibytes="4"))
    assert relay.chat(headers={"x-request-id": "dropped"}).status == 200
    eventually(
        lambda: [
            relay.metrics().total("relay_outbox_records_dropped_total", record=record)
            for record in ("opened", "closed")
        ],
        lambda counts: counts == [1, 1],
        what="the records that were dropped",
    )
    eventually(lambda: "outbox_room" in relay.output())
    # the ledger takes what is there, so there is room again
    ledger.process.start()
    eventually(lambda: "there is room again" in relay.output(), within_seconds=30)
    assert relay.chat(headers={"x-request-id": "kept"}).status == 200
    assert ledger.attempt("kept")["usageSource"] == "provider"
    assert stable.calls() == 2


def test_a_full_outbox_refuses_calls_where_that_is_asked_for(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    ledger.process.kill()
    _occupy(outbox, segments=4)
    relay = new_relay(
        document="plain", **ledger.settings(outbox, outbox_mebibytes="4", outbox_when_full="refuse")
    )
    answer = relay.chat()
    assert (answer.status, answer.error()["code"]) == (503, "usage_not_recorded")
    assert stable.calls() == 0
    ledger.process.start()
    eventually(lambda: relay.chat().status, lambda status: status == 200, within_seconds=30)


def _occupy(outbox: Path, *, segments: int) -> None:
    """Fills the outbox with segments of a former pod that hold one record each, which nobody has delivered."""
    outbox.mkdir(exist_ok=True)
    for number in range(segments):
        writer = AttemptWriter(outbox, relay="relay-0", most_segments=segments, now=0.0)
        names = writer.names(FIELDS)
        opening = writer.open_attempt(
            names,
            attempt=1,
            stream=False,
            call_id=call_id(number),
            request_id="former",
            expected=(700, 90),
        )
        writer.close_attempt(names, opening, closing())
        writer.end()


def test_a_disk_without_room_kills_nobody(
    new_relay: NewRelay, ledger: BookingLedger, tmp_path: Path, stable: Upstream
) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(place)], check=True)
    try:
        relay = new_relay(
            document="plain", **ledger.settings(place, workers="2", outbox_mebibytes="16")
        )
        served = workers(relay)
        callers = Callers(relay, 10)
        callers.join()
        assert sum(callers.answered.values()) == CALLERS * 10
        assert workers(relay) == served
        relay.process.kill()
    finally:
        # the kernel lets go of a killed process's files when it gets to it
        eventually(
            lambda: subprocess.run(["umount", str(place)], check=False).returncode,
            lambda code: code == 0,
            within_seconds=30,
            what="nobody in the small file system",
        )


@pytest.mark.parametrize("seed", [5, 6])
def test_a_damaged_segment_costs_what_is_damaged_and_is_counted(
    seed: int, new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream
) -> None:
    chance = random.Random(seed)
    ledger.process.kill()
    relay = new_relay(document="plain", **ledger.settings(outbox))
    callers = Callers(relay, 10)
    callers.join()
    relay.process.kill()
    (path,) = [one for one in outbox.glob("*.segment") if len(one.read_bytes().rstrip(b"\0")) > 8]
    content = bytearray(path.read_bytes())
    end = len(content.rstrip(b"\0"))
    start = chance.randrange(end // 2, end - 200)
    content[start : start + 150] = chance.randbytes(150)
    path.write_bytes(content)
    ledger.process.start()
    relay.restart()
    relay.wait_ready()
    # at most three records are touched, and an attempt has two
    found = ledger.wait_closed(CALLERS * 10 - 3)
    assert len(found) < CALLERS * 10 or len(ledger.records()) == len(found)
    assert {one["requestId"] for one in found} <= set(callers.answered)
    eventually(
        lambda: relay.metrics().total("relay_outbox_skipped_bytes_total"),
        lambda skipped: 0 < skipped < 1500,
        what="the bytes that were skipped",
    )


def test_batches_are_told_again_after_lost_answers_and_booked_once(
    new_relay: NewRelay, ledger: BookingLedger, outbox: Path, stable: Upstream, platform: Platform
) -> None:
    """The shipper is killed again and again between the ledger's commit and its note of it, so everything comes twice or more."""
    relay = new_relay(document="plain", **ledger.settings(outbox))
    callers = Callers(relay, 20)
    while not callers.are_done:
        kill(shippers(relay))
        time.sleep(0.2)
    callers.join()
    check_books(ledger, stable, callers.answered)
    copy = outbox.parent / "copy"
    shutil.copytree(outbox, copy)
    relay.process.kill()
    for segment in files(copy):
        shutil.copyfile(segment, outbox / segment.relative_to(copy))
    before = ledger.records()
    relay.restart()
    relay.wait_ready()
    eventually(
        lambda: ledger.process.metric('relay_ledger_records_total{result="repeated"}'),
        lambda repeated: repeated > 0,
        within_seconds=30,
        what="records that come again",
    )
    assert ledger.records() == before


def test_a_fallback_is_in_the_books_of_both_providers(
    new_relay: NewRelay,
    ledger: BookingLedger,
    outbox: Path,
    platform: Platform,
    stable: Upstream,
    backup: Upstream,
) -> None:
    relay = new_relay(document="plain", **ledger.settings(outbox))
    relay.push(platform.document(routes=[route(fallback=(side("backup"),))]))
    stable.behave(error_percent=50, error_status=429)
    callers = Callers(relay, 15)
    callers.join()
    asked = Counter(one.header("x-request-id") for one in stable.received())
    passed_on = Counter(one.header("x-request-id") for one in backup.received())
    closed = ledger.wait_closed(sum(asked.values()) + sum(passed_on.values()))
    by_provider = {
        name: Counter(one["requestId"] for one in closed if one["provider"] == name)
        for name in ("stable", "backup")
    }
    assert by_provider == {"stable": asked, "backup": passed_on}
    assert Counter(one["requestId"] for one in closed if one["delivered"]) == callers.answered
