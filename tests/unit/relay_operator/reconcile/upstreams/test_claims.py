"""What is kept of claims is what a look at all of them gives."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.api.tenant import Limits
from relay_operator.reconcile.upstreams.claims import Party, ProviderClaims

SPACES = ("relay-a", "relay-b", "relay-c")
PROVIDERS = ("p", "q", "r")


class Tenants:
    """Weights of the tenants that are there, and what is closed to each."""

    def __init__(self) -> None:
        self.weights: dict[str, int] = {}
        self.closed: dict[str, set[str]] = defaultdict(set)

    def party(self, namespace: str) -> Party | None:
        if namespace not in self.weights:
            return None
        closed = self.closed[namespace]
        tenant = namespace.removeprefix("relay-")
        return Party(
            tenant=tenant,
            weight=self.weights[namespace],
            may_use=lambda provider: provider not in closed,
            limits=Limits(requests_per_minute=self.weights[namespace]) if closed else None,
        )


EVENTS = st.one_of(
    st.tuples(
        st.just("claim"),
        st.sampled_from(SPACES),
        st.sampled_from(("x", "y")),
        st.frozensets(st.sampled_from(PROVIDERS)),
    ),
    st.tuples(st.just("drop"), st.sampled_from(SPACES), st.sampled_from(("x", "y")), st.just(())),
    st.tuples(st.just("weigh"), st.sampled_from(SPACES), st.integers(0, 5), st.just(())),
    st.tuples(
        st.just("close"),
        st.sampled_from(SPACES),
        st.just(0),
        st.frozensets(st.sampled_from(PROVIDERS)),
    ),
)


@given(st.lists(st.tuples(EVENTS, st.booleans()), max_size=40))
def test_weights_follow_every_change(
    events: list[tuple[tuple[str, str, object, frozenset[str]], bool]],
) -> None:
    tenants = Tenants()
    claims = ProviderClaims(party=tenants.party)
    routes: dict[tuple[str, str], frozenset[str]] = {}
    for (what, space, which, providers), looks in events:
        if what == "claim":
            routes[space, str(which)] = frozenset(providers)
            claims.put(space, str(which), providers)
        elif what == "drop":
            routes.pop((space, str(which)), None)
            claims.drop(space, str(which))
        else:
            if what == "close":
                tenants.closed[space] = set(providers)
            elif which:
                tenants.weights[space] = int(str(which))
            else:
                tenants.weights.pop(space, None)
            claims.look_again(space)
        if looks:
            _compare(claims, tenants, routes)
    _compare(claims, tenants, routes)


@given(st.lists(EVENTS, max_size=40))
def test_another_division_has_another_number(
    events: list[tuple[str, str, object, frozenset[str]]],
) -> None:
    tenants = Tenants()
    claims = ProviderClaims(party=tenants.party)
    seen: dict[tuple[str, int], dict[str, int]] = {}
    for what, space, which, providers in events:
        if what == "claim":
            claims.put(space, str(which), providers)
        elif what == "drop":
            claims.drop(space, str(which))
        elif what == "close":
            tenants.closed[space] = set(providers)
        else:
            tenants.weights[space] = int(str(which)) + 1
        claims.look_again(space)
        for provider in PROVIDERS:
            division, weights = claims.division(provider), dict(claims.weights(provider))
            assert seen.setdefault((provider, division), weights) == weights
            # it never comes back, and does not change without a reason
            assert division == max(number for name, number in seen if name == provider)
            assert division == 0 or seen.get((provider, division - 1), {}) != weights


def _compare(
    claims: ProviderClaims, tenants: Tenants, routes: dict[tuple[str, str], frozenset[str]]
) -> None:
    for provider in PROVIDERS:
        wanted = {
            space.removeprefix("relay-"): tenants.weights[space]
            for (space, _), named in routes.items()
            if provider in named
            and space in tenants.weights
            and provider not in tenants.closed[space]
        }
        assert dict(claims.weights(provider)) == wanted
        limited = [one for one in wanted if tenants.closed[f"relay-{one}"]]
        promised = claims.promised(provider)
        assert promised.rates == (sum(wanted[one] for one in limited), 0)
        assert (promised.limited, promised.tenants) == ((len(limited), 0), len(limited))
        total = sum(wanted.values())
        for tenant, weight in wanted.items():
            assert claims.share(provider, tenant, weight=1) == weight / total
        assert claims.share(provider, "new", weight=2) == 2 / (total + 2)


def test_what_turns_is_told_once() -> None:
    tenants = Tenants()
    claims = ProviderClaims(party=tenants.party)
    assert claims.put("relay-a", "x", {"p"}) == {"p"}
    assert claims.put("relay-a", "y", {"p", "q"}) == {"q"}
    assert claims.put("relay-a", "x", ()) == frozenset()
    assert claims.drop("relay-a", "y") == {"p", "q"}
    assert claims.claimed_in("relay-a") == frozenset()


def test_a_tenant_that_comes_to_many_changes_few_shares_and_all_have_no_more_than_the_whole() -> (
    None
):
    tenants = Tenants()
    claims = ProviderClaims(party=tenants.party)
    told, before = 0, claims.division("p")
    for number in range(3000):
        tenants.weights[f"relay-{number}"] = 1 + number % 3
        claims.put(f"relay-{number}", "x", ("p",))
        told += claims.division("p") != before
        before = claims.division("p")
        assert number >= 50 or claims.share("p", "0", weight=1) * sum(
            tenants.weights.values()
        ) == pytest.approx(1)
    weights = claims.weights("p")
    shares = sum(claims.share("p", tenant, weight=weight) for tenant, weight in weights.items())
    assert 0.98 <= shares <= 1
    # each of the first fifty, and two in a hundred more
    assert told <= 50 + 260


def test_a_tenant_that_goes_gives_its_part_back_to_the_others_in_time() -> None:
    tenants = Tenants()
    claims = ProviderClaims(party=tenants.party)
    for number in range(200):
        tenants.weights[f"relay-{number}"] = 1
        claims.put(f"relay-{number}", "x", ("p",))
    for number in range(1, 200):
        claims.drop(f"relay-{number}", "x")
    assert claims.share("p", "0", weight=1) == 1


def test_among_many_a_share_that_nobody_is_told_of_stays_and_all_have_no_more_than_the_whole() -> (
    None
):
    tenants = Tenants()
    claims = ProviderClaims(party=tenants.party)
    told: dict[str, float] = {}
    division = -1
    for number in range(400):
        tenants.weights[f"relay-t{number}"] = 1
        claims.put(f"relay-t{number}", "x", {"p"})
        if claims.division("p") != division:
            division = claims.division("p")
            told = {one: claims.share("p", one, weight=1) for one in claims.weights("p")}
        told[f"t{number}"] = claims.share("p", f"t{number}", weight=1)
        assert sum(told.values()) <= 1 + 1e-9
