"""What the retry budget allows."""

from relay.calls.retry_budget import RetryBudget


def test_the_retry_budget_bounds_bursts_and_averages() -> None:
    budget = RetryBudget(ratio=0.1, burst=5)
    assert sum(budget.withdraw() for _ in range(100)) == 5
    for _ in range(100):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(100)) == 5
    allowed = 0
    for _ in range(1000):
        budget.deposit()
        allowed += budget.withdraw()
    assert 95 <= allowed <= 105
