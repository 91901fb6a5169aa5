"""Who is passed over, until when, and never everybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.documents import document_of

from relay.routing.cool_downs import REMEMBERED, CoolDowns
from relay.routing.routes import Target, find_route
from relay.routing.snapshot import Snapshot, compile_snapshot
from relay_contract.document import Provider, Route, Side

NAMES = ("stable", "second", "third")


def snapshot(**fields: float | str) -> Snapshot:
    providers = tuple(
        Provider.model_validate({"name": name, "url": "http://x/v1", **fields}) for name in NAMES
    )
    sides = [Side(provider=name, fingerprint="0" * 12) for name in NAMES]
    route = Route(name="r", stable=sides[0], fallback=tuple(sides[1:]))
    document = document_of(
        name="t", uid="u", namespace="n", generation=1, providers=providers, routes=(route,)
    )
    return compile_snapshot(document, "")


def targets(model: str = "m", **fields: float | str) -> tuple[Target, ...]:
    routed = find_route(snapshot(**fields), model, None)
    assert routed is not None
    return routed.stable


def names(found: tuple[Target, ...]) -> list[str]:
    return [target.provider for target in found]


def test_a_target_is_passed_over_until_its_time() -> None:
    cool_downs, tried = CoolDowns(), targets()
    cool_downs.note(tried[0], 5, 100.0)
    assert names(cool_downs.passable(tried, 104.9)) == ["second", "third"]
    assert names(cool_downs.passable(tried, 105.0)) == list(NAMES)


def test_another_model_of_the_provider_is_not() -> None:
    cool_downs = CoolDowns()
    cool_downs.note(targets()[0], 5, 100.0)
    assert names(cool_downs.passable(targets("other"), 101.0)) == list(NAMES)


@pytest.mark.parametrize(("cool_down", "until"), [(2.0, 102.0), (None, 160.0)])
def test_no_provider_says_for_how_long_without_a_bound(
    cool_down: float | None, until: float
) -> None:
    tried = targets() if cool_down is None else targets(cool_down_seconds=cool_down)
    cool_downs = CoolDowns()
    cool_downs.note(tried[0], 10.0**9, 100.0)
    assert cool_downs.is_cooling(tried[0], until - 0.01)
    assert not cool_downs.is_cooling(tried[0], until)


def test_of_two_times_the_later_one_counts() -> None:
    for first, second in ((5, 50), (50, 5)):
        cool_downs, tried = CoolDowns(), targets()
        cool_downs.note(tried[0], first, 100.0)
        cool_downs.note(tried[0], second, 101.0)
        assert cool_downs.is_cooling(tried[0], 149.0)
        assert not cool_downs.is_cooling(tried[0], 152.0)


def test_a_cool_down_of_nothing_passes_nobody_over() -> None:
    cool_downs, tried = CoolDowns(), targets(cool_down_seconds=0)
    cool_downs.note(tried[0], 60, 100.0)
    assert not cool_downs.any
    assert cool_downs.passable(tried, 100.0) is tried


@given(cooling=st.sets(st.sampled_from(range(3))), index=st.integers(-1, 2))
def test_there_is_always_somebody_to_ask(cooling: set[int], index: int) -> None:
    cool_downs, tried = CoolDowns(), targets()
    for place in cooling:
        cool_downs.note(tried[place], 5, 0.0)
    left = cool_downs.passable(tried, 1.0)
    assert names(left) == list(NAMES)[-len(left) :]
    assert len(cooling) == 3 or not cool_downs.is_cooling(left[0], 1.0)
    following = cool_downs.following(tried, index, 1.0)
    behind = set(range(index + 1, 3))
    assert set(following) == (behind - cooling or behind)


def test_the_only_target_is_never_passed_over() -> None:
    cool_downs, tried = CoolDowns(), targets()[:1]
    cool_downs.note(tried[0], 5, 0.0)
    assert cool_downs.passable(tried, 1.0) is tried


def test_a_provider_that_is_changed_or_gone_is_forgotten() -> None:
    cool_downs, tried = CoolDowns(), targets()
    for target in tried:
        cool_downs.note(target, 50, 0.0)
    former, changed = snapshot().upstreams, snapshot(cool_down_seconds=9).upstreams
    fresh = {"stable": former["stable"], "second": changed["second"]}
    cool_downs.install(fresh, former)
    assert [cool_downs.is_cooling(target, 1.0) for target in tried] == [True, False, False]


def test_callers_own_words_for_models_do_not_fill_the_memory() -> None:
    cool_downs = CoolDowns()
    for number in range(REMEMBERED + 10):
        cool_downs.note(targets(f"m-{number}")[0], 5, 0.0)
    assert not cool_downs.is_cooling(targets(f"m-{REMEMBERED}")[0], 1.0)
    cool_downs.note(targets("later")[0], 5, 6.0)
    assert cool_downs.is_cooling(targets("later")[0], 7.0)
