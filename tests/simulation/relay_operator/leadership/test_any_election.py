"""Six hundred elections, each with late and lost requests, stopped and killed processes, and a Lease that is edited."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.unit.relay_operator.decisions.leadership.test_election import Elections


def test_never_two_act_and_always_one_in_the_end() -> None:
    run_state_machine_as_test(
        Elections,
        settings=settings(
            max_examples=600,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
