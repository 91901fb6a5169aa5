"""The level of a pod is that of the worker that uses most of what it holds."""

from relay.process.pod_state.quota_use import PodQuotaUse
from relay_contract.quota_use import QuotaUses


def test_the_highest_level_of_the_workers_counts() -> None:
    use = PodQuotaUse()
    use.report(1, [("legacy", "Quiet"), ("other", "Usual")])
    use.report(2, [("legacy", "Short")])
    told = QuotaUses.model_validate(use.answer())
    assert {one.provider: one.level for one in told.uses} == {"legacy": "Short", "other": "Usual"}


def test_a_worker_that_ends_says_nothing_more() -> None:
    use = PodQuotaUse()
    use.report(1, [("legacy", "Quiet")])
    use.report(2, [("legacy", "Short")])
    use.forget(2)
    assert use.levels() == {"legacy": "Quiet"}


def test_the_tag_names_the_levels_alone() -> None:
    use = PodQuotaUse()
    use.report(1, [("legacy", "Usual")])
    before = use.answer()["tag"]
    use.report(2, [("legacy", "Usual")])
    assert use.answer()["tag"] == before
    use.report(2, [("legacy", "Busy")])
    assert use.answer()["tag"] != before
