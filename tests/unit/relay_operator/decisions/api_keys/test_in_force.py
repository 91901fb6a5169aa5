"""What is in force of the keys that are read, and what a person is told of them."""

import math
from typing import Any

import pytest

from relay_contract import document
from relay_operator.api.tenant import KeyRotation
from relay_operator.decisions.api_keys import brought, in_force, requests, withdrawal
from relay_operator.decisions.api_keys.in_force import ApiKeys
from relay_operator.decisions.api_keys.requests import Requests
from relay_operator.decisions.api_keys.rotation import KeyState
from relay_operator.decisions.timestamps import from_text
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composable

SINCE = from_text("2026-11-26T05:08:00Z")
DIGEST, OTHER = "a" * 64, "b" * 64
ID = "web/2026-11-26T05:08:00Z"


def a_key(name: str = "web", digest: str = DIGEST, **more: Any) -> document.ApiKey:
    return document.ApiKey(name=name, sha256=digest, **more)


def read(entries: dict[str, str], *in_force: document.ApiKey) -> brought.Brought:
    known = {key.name: key for key in in_force}
    return brought.read(entries, ["web"], secret="relay-finance/digests", in_force=known)


def test_a_digest_is_taken_in_either_case_with_a_line_end_and_with_the_one_before_it() -> None:
    found = read({"web": f"{DIGEST.upper()}\n", "web.previous": OTHER})
    assert found.digests == {"web": a_key(previous_sha256=OTHER)}
    assert found.problems == []


@pytest.mark.parametrize("text", ["", "sk-relay-finance-secret", DIGEST[1:], f"sha256:{DIGEST}"])
def test_what_is_no_digest_leaves_what_is_in_force_and_is_not_repeated(text: str) -> None:
    found = read({"web": text}, a_key(digest=OTHER))
    assert found.digests == {"web": a_key(digest=OTHER)}
    (problem,) = found.problems
    assert "entry web of Secret relay-finance/digests is no SHA-256" in problem
    assert "the last digest stays in force" in problem
    assert not text or text not in problem


def test_what_is_no_digest_of_a_key_before_leaves_that_in_force_too() -> None:
    last = a_key(previous_sha256=OTHER)
    found = read({"web": DIGEST, "web.previous": "gone"}, last)
    assert found.digests == {"web": last}
    assert len(found.problems) == 1


def test_an_entry_that_is_not_there_revokes_the_key_whatever_was_in_force() -> None:
    found = read({}, a_key())
    assert found.digests == {}
    assert "API key web is refused" in found.problems[0]


def test_of_two_names_with_the_same_key_the_first_of_the_spec_has_it() -> None:
    digests = {"web": a_key(), "batch": a_key("batch"), "night": a_key("night", OTHER)}
    kept, problems = in_force.without_doubles(digests, ["batch", "web", "night"])
    assert kept.keys() == {"batch", "night"}
    assert problems == [
        "API key web is not in force: it is the same as batch, to which calls with it are booked; give it a key of its own"
    ]


def a_state(**fields: Any) -> KeyState:
    given: dict[str, Any] = {"name": "web", "since": SINCE}
    return KeyState(**(given | fields))


def test_the_story_tells_of_the_overlap_and_of_what_comes_next() -> None:
    until = from_text("2026-11-27T05:08:00Z")
    rotates = from_text("2026-12-26T05:08:00Z")
    keys = ApiKeys(states=(a_state(rotates_at=rotates, previous_until=until),))
    assert in_force.story(keys) == (
        "web was rotated at 2026-11-26T05:08:00Z, and the key before it (web.previous) is accepted until "
        "2026-11-27T05:08:00Z; the next rotation is that of web at 2026-12-26T05:08:00Z"
    )
    assert in_force.to_status(keys) == [
        {
            "name": "web",
            "source": "Generated",
            "since": "2026-11-26T05:08:00Z",
            "id": ID,
            "rotatesAt": "2026-12-26T05:08:00Z",
            "previousUntil": "2026-11-27T05:08:00Z",
            "previousId": "web.previous/2026-11-26T05:08:00Z",
        }
    ]


def test_the_story_of_many_keys_stays_short() -> None:
    states = tuple(a_state(name=f"k{n}", previous_until=SINCE + 60) for n in range(32))
    told = in_force.story(ApiKeys(states=states))
    assert "and 28 more in status.keys" in told
    assert len(told) < 1000


def test_a_tenant_without_rotation_has_no_story() -> None:
    assert in_force.story(ApiKeys(states=(a_state(),))) == ""
    assert in_force.to_status(ApiKeys(brought=("web",))) == [{"name": "web", "source": "Digest"}]


def test_a_rotation_that_waits_says_for_what() -> None:
    waits = ApiKeys(states=(a_state(is_due=True),), waiting=" (1 of 3 do)")
    assert "waits for relay pods to know the next key (1 of 3 do)" in in_force.story(waits)
    waits = ApiKeys(states=(a_state(is_due=True, previous_until=SINCE + 60),))
    assert "or as soon as it is revoked" in in_force.story(waits)


def test_an_annotation_is_read_with_any_separator_and_bounded() -> None:
    annotations = {"relay-operator.dev/rotate-keys": f" {ID},\n{ID.replace('web', 'batch')} "}
    assert requests.read(annotations).rotate == {ID, ID.replace("web", "batch")}
    flood = {"relay-operator.dev/revoke-keys": "x " * 100_000}
    assert len(requests.read(flood).revoke) == 1


@pytest.mark.parametrize("value", ["web", "web/now", "night/2026-11-26T05:08:00Z", "*", "web/"])
def test_a_value_that_names_no_key_is_told(value: str) -> None:
    asked = Requests(rotate=frozenset({value, ID}))
    (said,) = requests.complaints(asked, known=["web"], brought=[])
    assert f"annotation relay-operator.dev/rotate-keys has '{value}'" in said


def test_a_value_of_a_key_that_was_replaced_since_is_left_over_and_no_complaint() -> None:
    asked = Requests(
        rotate=frozenset({ID}), revoke=frozenset({"web.previous/2020-01-01T00:00:00Z"})
    )
    assert requests.complaints(asked, known=["web"], brought=[]) == []


def test_a_key_that_the_platform_brings_is_rotated_where_it_is_brought() -> None:
    asked = Requests(rotate=frozenset({ID}))
    (said,) = requests.complaints(asked, known=[], brought=["web"])
    assert "brought by the platform" in said


def cut(*keys: document.ApiKey, **changes: Any) -> tuple[document.ApiKey, ...]:
    states = changes.pop("states", (a_state(previous_until=SINCE + 60),))
    known = ApiKeys(digests={key.name: key for key in keys}, states=states)
    options: dict[str, Any] = {
        "named": {"web"},
        "requests": Requests(),
        "now": SINCE,
        "nobodys": lambda: "f" * 64,
    }
    return withdrawal.withdrawn(keys, known, **(options | changes))


def test_keys_are_withdrawn_with_what_is_known_without_the_api_server() -> None:
    key = a_key(previous_sha256=OTHER)
    assert cut(key) == (key,)
    assert cut(key, named={"batch"}) == ()
    assert cut(key, named=None) == (key,)
    assert cut(key, now=SINCE + 60) == (a_key(),)
    before = Requests(revoke=frozenset({f"web.previous/{ID[4:]}"}))
    assert cut(key, requests=before) == (a_key(),)
    current = Requests(revoke=frozenset({ID}))
    assert cut(key, requests=current) == (a_key(digest="f" * 64, previous_sha256=OTHER),)
    assert cut(key, requests=Requests(revoke=frozenset({"web/2020-01-01T00:00:00Z"}))) == (key,)


def test_a_key_that_is_withdrawn_already_is_left_so() -> None:
    revoked = a_key(digest="c" * 64)
    known = ApiKeys(digests={"web": a_key()}, states=(a_state(),))
    asked = Requests(revoke=frozenset({ID}))
    found = withdrawal.withdrawn(
        (revoked,), known, named={"web"}, requests=asked, now=SINCE, nobodys=lambda: "d" * 64
    )
    assert found == (revoked,)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"apiKeys": [{"name": "web"}]}, {"web"}),
        ({"apiKeys": []}, set()),
        ({}, None),
        ({"apiKeys": "web"}, None),
        ({"apiKeys": [{"name": "web"}, {}]}, None),
        (None, None),
    ],
)
def test_the_keys_of_a_spec_are_read_as_somebody_wrote_it(spec: Any, named: Any) -> None:
    assert withdrawal.named_keys(spec) == named


@pytest.mark.parametrize(
    ("rotation", "why"),
    [
        ({"every": "10m"}, "every is below 1h"),
        ({"every": "2h", "overlap": "30s"}, "overlap is below 1m"),
        ({"every": "24h"}, r"overlap \(24h if not set\) must be shorter than every"),
        ({"every": "48h", "overlap": "48h"}, "must be shorter than every"),
        ({"every": "often"}, "is not a duration"),
    ],
)
def test_a_rotation_that_makes_no_sense_is_refused(rotation: dict[str, str], why: str) -> None:
    body = {"metadata": {"name": "finance", "uid": "u"}, "spec": {"keyRotation": rotation}}
    with pytest.raises(InvalidSpec, match=why):
        composable.tenant(body)


def test_nothing_is_rotated_unless_asked_for() -> None:
    body = {"metadata": {"name": "finance", "uid": "u"}, "spec": {}}
    assert composable.tenant(body).spec.key_rotation is None
    assert KeyRotation().every is None
    assert KeyState(name="web", since=SINCE).rotates_at == math.inf
