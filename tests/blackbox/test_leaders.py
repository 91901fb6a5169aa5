"""A relay takes documents from the latest leader that has shown itself, and nothing from those before it."""

import pytest
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import Platform, Signer, route
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually, steady

from relay_contract.document import Document

LONG_ENOUGH_TO_BE_READ_SECONDS = 0.5
"""Ten polls of the mounted file."""


def composed_by(platform: Platform, epoch: int, target: str = "stable") -> Document:
    """Returns a newer document, by the leader of this number."""
    return platform.document(routes=[route(target)]).model_copy(update={"epoch": epoch})


def push(
    relay: Relay, platform: Platform, document: Document, *, leader: int = 0
) -> tuple[int, str]:
    """Pushes as a leader; returns the status and the code of a refusal."""
    shown = platform.signer.leader(leader) if leader else ""
    answer = relay.push_envelope(platform.signer.sealed(document), leader=shown)
    return answer.status, answer.json().get("error", {}).get("code", "")


def mount(relay: Relay, document: Document) -> None:
    """Mounts a document, and waits until it is in force."""
    relay.write_document(document)
    eventually(
        relay.acknowledged, lambda seen: seen.generation == document.generation, what="the file"
    )


def test_a_leader_that_shows_itself_ends_what_those_before_it_can_do(
    new_relay: NewRelay, platform: Platform, backup: Upstream
) -> None:
    relay = new_relay()
    first = composed_by(platform, 1)
    assert push(relay, platform, first, leader=1) == (200, "")
    # who takes over pushes what is in force
    assert push(relay, platform, first, leader=2) == (200, "")
    late = composed_by(platform, 1, "backup")
    assert push(relay, platform, late, leader=1) == (409, "stale_epoch")
    assert push(relay, platform, late) == (409, "stale_epoch")
    assert push(relay, platform, first, leader=1) == (409, "stale_epoch")
    relay.chat()
    assert backup.calls() == 0
    # the only place where a former leader that goes on can be seen: the first at once, the others are counted
    told = [line for line in relay.output().splitlines() if '"document_rejected"' in line]
    assert len(told) == 1
    assert all('"stale_epoch"' in line and '"push"' in line for line in told), told
    assert push(relay, platform, late, leader=2) == (200, "")
    relay.chat()
    assert backup.calls() == 1


def test_a_mounted_document_of_a_former_leader_changes_nothing(
    new_relay: NewRelay, platform: Platform, backup: Upstream
) -> None:
    relay = new_relay()
    assert push(relay, platform, composed_by(platform, 1), leader=2) == (200, "")
    relay.write_document(composed_by(platform, 1, "backup"))
    steady(relay.acknowledged, for_seconds=LONG_ENOUGH_TO_BE_READ_SECONDS, what="what is in force")
    mount(relay, composed_by(platform, 2, "backup"))
    relay.chat()
    assert backup.calls() == 1


def test_a_document_shows_its_leader_without_a_push(
    new_relay: NewRelay, platform: Platform
) -> None:
    relay = new_relay()
    mount(relay, composed_by(platform, 5))
    assert push(relay, platform, composed_by(platform, 4), leader=4) == (409, "stale_epoch")


def test_the_document_that_a_relay_begins_with_shows_its_leader(
    new_relay: NewRelay, platform: Platform
) -> None:
    relay = new_relay()
    mount(relay, composed_by(platform, 5))
    # nobody has pushed: only the document tells
    relay.restart()
    relay.wait_ready()
    assert push(relay, platform, composed_by(platform, 4), leader=4) == (409, "stale_epoch")
    assert push(relay, platform, composed_by(platform, 5), leader=5) == (200, "")


def test_a_restarted_relay_remembers_the_latest_leader(
    new_relay: NewRelay, platform: Platform
) -> None:
    relay = new_relay()
    first = composed_by(platform, 1)
    assert push(relay, platform, first, leader=1) == (200, "")
    assert push(relay, platform, first, leader=2) == (200, "")
    relay.restart()
    relay.wait_ready()
    assert relay.acknowledged().generation == first.generation
    assert push(relay, platform, composed_by(platform, 1), leader=1) == (409, "stale_epoch")
    assert push(relay, platform, composed_by(platform, 2), leader=2) == (200, "")


def test_a_former_leader_is_shown_the_proof_of_the_later_one(
    new_relay: NewRelay, platform: Platform
) -> None:
    relay = new_relay()
    assert push(relay, platform, composed_by(platform, 1), leader=3) == (200, "")
    late = platform.signer.sealed(composed_by(platform, 2))
    answer = relay.push_envelope(late, leader=platform.signer.leader(2))
    assert answer.json()["leader"] == platform.signer.leader(3)


@pytest.mark.parametrize("shown", ["9", "9 AAAA", "no leader", "9 " + "A" * 5000, "stranger"])
def test_nobody_shows_itself_without_a_signature(
    new_relay: NewRelay, platform: Platform, shown: str
) -> None:
    relay = new_relay()
    if shown == "stranger":
        shown = Signer().leader(9)
    document = platform.signer.sealed(composed_by(platform, 1))
    answer = relay.push_envelope(document, leader=shown)
    assert (answer.status, answer.json()["error"]["code"]) == (403, "bad_signature")
    assert push(relay, platform, composed_by(platform, 1), leader=1) == (200, "")


def test_an_operator_that_knows_no_leaders_is_taken_until_one_shows_itself(
    new_relay: NewRelay, platform: Platform
) -> None:
    relay = new_relay()
    assert push(relay, platform, composed_by(platform, 0)) == (200, "")
    assert push(relay, platform, composed_by(platform, 0)) == (200, "")
    assert push(relay, platform, composed_by(platform, 1), leader=1) == (200, "")
    assert push(relay, platform, composed_by(platform, 0)) == (409, "stale_epoch")
