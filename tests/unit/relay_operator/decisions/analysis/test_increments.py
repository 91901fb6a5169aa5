"""What a tick brings of a route."""

from relay_operator.decisions.analysis.increments import SideIncrements


def test_answered_are_the_finished_that_no_one_failed_refused_or_throttled() -> None:
    side = SideIncrements(started=20, finished=10, failed=1, throttled=2, refused=3, cancelled=4)
    assert side.answered == 4


def test_figures_that_do_not_add_up_answer_nothing() -> None:
    assert SideIncrements(finished=1, failed=2).answered == 0
