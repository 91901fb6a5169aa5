"""How often a tenant may ask: a burst, then a rate, each for itself."""

from relay_ledger.reading.pace import Pace


def test_a_burst_then_a_rate_for_each_alone() -> None:
    pace = Pace(per_second=2, burst=3)
    assert [pace.wait_for("a", 100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert pace.wait_for("b", 100.0) == 0
    assert pace.wait_for("a", 100.5) == 0
    assert pace.wait_for("a", 100.5) == 0.5
    # long after, both are as new
    assert [pace.wait_for("a", 200.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_tenants_who_are_quiet_are_forgotten() -> None:
    pace = Pace(per_second=1, burst=2)
    for number in range(1000):
        pace.wait_for(f"tenant-{number}", 10.0)
    pace.wait_for("late", 100.0)
    assert len(pace._spent) == 1
