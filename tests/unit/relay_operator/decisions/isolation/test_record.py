"""Which finding is in force after several probes, and when the next one is due."""

from relay_operator.decisions.isolation import record as records
from relay_operator.decisions.isolation.finding import NOT_PROBED, Finding
from relay_operator.decisions.isolation.record import Record
from relay_operator.names import Reason

PERIOD = 900.0
YES = Finding(holds=True, reason=Reason.PROBED, message="refused")
NO = Finding(holds=False, reason=Reason.NOT_ENFORCED, message="reaches the API server")
NOTHING = Finding(holds=None, reason=Reason.PROBE_FAILED, message="no answer")


def after(record: Record, *found: Finding, now: float = 1000.0, jitter: float = 0.5) -> Record:
    for one in found:
        record = records.after(record, one, now=now, period_seconds=PERIOD, jitter=jitter)
    return record


def test_a_proof_is_in_force_at_once_and_repeated_after_the_period_with_jitter() -> None:
    dues = [after(Record(), YES, jitter=jitter).due_at - 1000 for jitter in (0.0, 0.5, 1.0)]
    assert dues == [810.0, 900.0, 990.0]
    assert after(Record(), YES).finding == YES


def test_another_proof_is_told_once_it_was_found_three_times_in_a_row() -> None:
    """By what a probe finds out in time, a status would be written after every other one."""
    other = Finding(holds=True, reason=Reason.PROBED, message="refused by fewer")
    record = after(Record(), YES)
    assert after(record, other, other).finding == YES
    assert after(record, other, other, YES, other, other).finding == YES
    assert after(record, other, other, other).finding == other
    assert after(after(Record(), NO, NO), other).finding == other
    assert after(record, other, now=3000).proven_at == 3000


def test_an_exposure_is_in_force_once_it_is_seen_twice_in_a_row() -> None:
    once = after(after(Record(), YES), NO)
    assert (once.finding, once.due_at - 1000) == (YES, records.CONFIRM_SECONDS)
    assert after(once, NO).finding == NO
    assert after(once, YES, NO).finding == YES
    assert after(once, NOTHING, NO).finding == YES


def test_a_tenant_that_is_not_isolated_is_probed_often_and_keeps_what_was_told_first() -> None:
    record = after(Record(), NO, NO)
    dues = []
    for _ in range(4):
        record = after(record, Finding(holds=False, reason=Reason.NOT_ENFORCED, message="other"))
        dues.append(record.due_at - 1000)
    assert record.finding == NO
    assert max(dues) <= 30
    assert after(record, YES).finding == YES


def test_a_probe_that_judges_nothing_leaves_what_is_known_for_a_while() -> None:
    assert after(after(Record(), NO, NO), NOTHING, now=1e9).finding == NO
    doubted = after(after(Record(), YES), NOTHING, now=2000)
    assert doubted.finding == YES
    assert after(doubted, NOTHING, now=2040).finding == YES
    assert after(doubted, NOTHING, now=2050).finding == NOTHING
    assert after(after(doubted, YES, now=2040), NOTHING, now=2050).finding == YES
    assert after(Record(), NOTHING).finding == NOTHING


def test_probes_that_judge_nothing_become_rare() -> None:
    record, dues = Record(), []
    for _ in range(12):
        record = after(record, NOTHING)
        dues.append(record.due_at - 1000)
    assert dues[:4] == [1.0, 2.0, 4.0, 8.0]
    assert dues[-1] == PERIOD


def test_it_is_open_until_two_probes_in_a_row_have_judged_nothing() -> None:
    assert Record().is_open
    assert after(Record(), NOTHING).is_open
    assert not after(Record(), NOTHING, NOTHING).is_open
    assert records.anew(after(Record(), NOTHING, NOTHING)).is_open
    assert not after(Record(), YES).is_open
    assert not after(Record(), NO, NO).is_open


def test_a_change_makes_the_next_probe_due_within_a_moment() -> None:
    assert records.due_soon(after(Record(), YES), now=1000).due_at == 1000 + records.SETTLE_SECONDS
    assert records.anew(after(Record(), YES)).finding == YES


def test_a_restarted_operator_goes_on_from_the_status() -> None:
    def told(status: str, reason: str) -> Record:
        one = {"type": "Isolated", "status": status, "reason": reason, "message": "m"}
        return records.remembered({"conditions": [one]})

    assert told("True", "Probed").finding == Finding(holds=True, reason=Reason.PROBED, message="m")
    assert told("False", "NotEnforced").finding.holds is False
    for status, reason in (("Unknown", "NotProbed"), ("True", "Odd"), ("False", "Probed")):
        assert told(status, reason).finding == NOT_PROBED
    assert records.remembered({}).finding == NOT_PROBED
    # a pod that is only starting does not undo it
    assert after(told("True", "Probed"), NOTHING).finding.holds is True
    assert told("True", "Probed").due_at <= 1000
