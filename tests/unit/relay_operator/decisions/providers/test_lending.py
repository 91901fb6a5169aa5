"""What is lent never exceeds what relays are known to have given up, whoever uses what, and whenever relays take a change."""

from dataclasses import dataclass, field
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from relay_contract.quota_use import QuotaLevel
from relay_operator.decisions.providers.lending import (
    KEPT,
    MOST_BORROWED,
    MOST_LENDERS,
    PATIENCE_SECONDS,
    STILL_SECONDS,
    Facts,
    Loans,
    next_loans,
)

LEVELS = get_args(QuotaLevel)
NAMES = ("a", "b", "c", "d", "e")


@dataclass
class Fleet:
    """Tenants whose relays take documents late: each runs with any part that it was given since the last it took."""

    weights: dict[str, int]
    loans: Loans = field(default_factory=Loans)
    levels: dict[str, QuotaLevel] = field(default_factory=dict)
    now: float = 0.0
    waited: float = 0.0
    pending: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for tenant in self.weights:
            self.takes(tenant)

    def part(self, tenant: str) -> float:
        return self.loans.units(tenant, self.weights[tenant])

    def takes(self, tenant: str) -> None:
        """Lets the relays of a tenant take the newest document."""
        self.pending[tenant] = [self.part(tenant)]

    def look(self) -> None:
        self.now += 1.0
        for tenant in self.weights:
            self.pending.setdefault(tenant, [self.part(tenant)])
        facts = Facts(
            weights=self.weights,
            levels=dict(self.levels),
            took_it=lambda tenant: self.pending[tenant] == [self.part(tenant)],
            now=self.now,
        )
        self.loans = next_loans(self.loans, facts)
        for tenant in self.weights:
            if self.pending[tenant][-1] != self.part(tenant):
                self.pending[tenant].append(self.part(tenant))

    def in_force(self) -> float:
        """Returns the most that all relays together may use by the documents that they may run."""
        return sum(max(self.pending[tenant]) for tenant in self.weights)

    def settle(self, seconds: int) -> None:
        for _ in range(seconds):
            self.look()
            for tenant in self.weights:
                self.takes(tenant)

    def play(self, what: str, name: str, value: object) -> None:
        match what:
            case "level" if value is None:
                self.levels.pop(name, None)
            case "level":
                self.levels[name] = value  # type: ignore[assignment]
            case "takes":
                self.takes(name)
            case "settle":
                self.settle(int(str(value)))
                self.waited = 0.0
            case _:
                # less than the patience with relays that do not answer, which are no relays after that
                for _ in range(int(str(value))):
                    if self.waited + 1 < PATIENCE_SECONDS:
                        self.look()
                        self.waited += 1


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("level"), st.sampled_from(NAMES), st.sampled_from((*LEVELS, None))),
        st.tuples(st.just("takes"), st.sampled_from(NAMES), st.none()),
        st.tuples(st.just("look"), st.just(""), st.integers(1, 9)),
        st.tuples(st.just("settle"), st.just(""), st.sampled_from((1, 2, 70))),
    ),
    max_size=60,
)


@given(weights=st.fixed_dictionaries({name: st.integers(1, 9) for name in NAMES}), steps=STEPS)
def test_no_more_than_the_quota_is_ever_in_force(
    weights: dict[str, int], steps: list[tuple[str, str, object]]
) -> None:
    fleet = Fleet(weights)
    for what, name, value in steps:
        fleet.play(what, name, value)
        assert fleet.loans.is_within_bounds
        assert fleet.in_force() <= sum(weights.values()) + 1e-6
        assert len(fleet.loans.lenders) <= MOST_LENDERS
        assert not fleet.loans.lenders.keys() & fleet.loans.borrowers.keys()


def test_what_is_not_used_is_lent_to_who_is_short_and_comes_back_within_seconds() -> None:
    fleet = Fleet({"a": 1, "b": 1, "c": 2})
    fleet.levels = {"a": "Short", "b": "Quiet", "c": "Busy"}
    fleet.settle(3)
    assert {name: fleet.part(name) for name in fleet.weights} == {"a": 1.75, "b": KEPT, "c": 2}
    fleet.levels["b"] = "Busy"
    fleet.settle(3)
    assert {name: fleet.part(name) for name in fleet.weights} == {"a": 1, "b": 1, "c": 2}


def test_a_lender_of_which_nothing_is_heard_has_its_part_back() -> None:
    fleet = Fleet({"a": 1, "b": 1})
    fleet.levels = {"a": "Short", "b": "Quiet"}
    fleet.settle(3)
    del fleet.levels["b"]
    fleet.settle(3)
    assert fleet.part("b") == 1


def test_a_relay_that_does_not_answer_keeps_a_lender_waiting_for_seconds_only() -> None:
    fleet = Fleet({"a": 1, "b": 1})
    fleet.levels = {"a": "Short", "b": "Quiet"}
    fleet.settle(3)
    fleet.levels["b"] = "Short"
    for second in range(int(PATIENCE_SECONDS) + 2):
        assert (fleet.part("b") == 1) == (second > PATIENCE_SECONDS)
        fleet.look()
        fleet.takes("b")


def test_nobody_lends_while_nobody_is_short() -> None:
    fleet = Fleet({"a": 1, "b": 1})
    fleet.levels = {"a": "Busy", "b": "Quiet"}
    fleet.settle(30)
    assert fleet.loans.is_empty


def test_a_borrower_gives_back_what_it_does_not_use_bit_by_bit() -> None:
    fleet = Fleet({"a": 1, "b": 8})
    fleet.levels = {"a": "Short", "b": "Quiet"}
    fleet.settle(3)
    assert fleet.part("a") == 1 + MOST_BORROWED
    fleet.levels["a"] = "Usual"
    fleet.settle(int(STILL_SECONDS) + 3)
    assert fleet.part("a") == 1 + MOST_BORROWED / 2
    # as much as it needs
    fleet.levels["a"] = "Busy"
    fleet.settle(int(4 * STILL_SECONDS))
    assert fleet.part("a") == 1 + MOST_BORROWED / 2
    fleet.levels["a"] = "Quiet"
    fleet.settle(int(6 * STILL_SECONDS))
    assert fleet.loans.is_empty
    assert fleet.part("b") == 8


def test_borrowers_share_by_weight_what_is_lent() -> None:
    fleet = Fleet({"a": 1, "b": 2, "c": 4})
    fleet.levels = {"a": "Short", "b": "Short", "c": "Quiet"}
    fleet.settle(5)
    assert [fleet.part(name) for name in ("a", "b", "c")] == [2, 4, 1]
    # another that is short takes from both, and no sum is larger meanwhile
    fleet.weights["d"] = 1
    fleet.levels["d"] = "Short"
    fleet.settle(5)
    assert [round(fleet.part(name), 3) for name in ("a", "b", "c", "d")] == [1.75, 3.5, 1, 1.75]


def test_a_lender_that_is_gone_or_weighs_less_is_taken_out() -> None:
    fleet = Fleet({"a": 1, "b": 2})
    fleet.levels = {"a": "Short", "b": "Quiet"}
    fleet.settle(3)
    fleet.weights["b"] = 1
    fleet.settle(3)
    assert fleet.loans.is_within_bounds
    fleet.settle(10)
    assert fleet.part("a") + fleet.part("b") == 2
    del fleet.weights["b"], fleet.levels["b"]
    fleet.settle(3)
    assert fleet.part("a") == 1
