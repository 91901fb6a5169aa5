"""Which documents are taken, and what the relay refuses to act on."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.relay.documents import PRIVATE_KEY, document, provider

from relay.process.document_acceptance import Acceptance, Accepted, Leader
from relay.routing.snapshot import SnapshotRejected, compile_snapshot
from relay_contract import leader_epoch
from relay_contract.document import Document
from relay_contract.seal import DocumentRejected, payload_digest, seal

ACCEPTANCE = Acceptance((PRIVATE_KEY.public_key(),), "uid-1")


def sealed(**changes: Any) -> bytes:
    return seal(document(**changes), PRIVATE_KEY).encode()


def judged(envelope: bytes, in_force: Accepted | None = None, **leaders: Leader) -> str:
    try:
        ACCEPTANCE.judge(envelope, in_force, **leaders)
    except DocumentRejected as error:
        return error.code
    return "accepted"


def test_a_good_document_is_taken_with_its_payload() -> None:
    accepted = ACCEPTANCE.judge(sealed(generation=3), None)
    assert accepted.generation == 3
    assert payload_digest(accepted.payload) == accepted.digest
    assert Document.model_validate_json(accepted.payload) == document(generation=3)


def test_the_same_document_again_is_the_one_in_force() -> None:
    accepted = ACCEPTANCE.judge(sealed(), None)
    assert ACCEPTANCE.judge(sealed(), accepted) is accepted


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (sealed(generation=6), "accepted"),
        (sealed(generation=4), "stale_generation"),
        (sealed(generation=5, replicas=2), "conflicting_generation"),
        (
            sealed(generation=6, uid="uid-2"),
            "wrong_tenant",
        ),
        (b"{}", "bad_envelope"),
        (b"\xff", "bad_envelope"),
        (b"{" * 2_000_000, "bad_envelope"),
        (seal(document(generation=6), Ed25519PrivateKey.generate()).encode(), "bad_signature"),
        (sealed(generation=6).replace(b"finance", b"FINANCE"), "bad_signature"),
        (
            sealed(
                generation=6,
                providers=(provider("legacy", headers={"a b": "c"}), provider("holysheep")),
            ),
            "invalid_document",
        ),
    ],
)
def test_every_refusal_has_its_code(envelope: bytes, code: str) -> None:
    in_force = ACCEPTANCE.judge(sealed(generation=5), None)
    assert judged(envelope, in_force) == code


def test_the_newest_of_several_wins_and_bad_ones_are_passed_over() -> None:
    envelopes = [sealed(generation=3), b"garbage", sealed(generation=7), sealed(generation=5)]
    newest = ACCEPTANCE.newest(envelopes)
    assert newest is not None
    assert newest.generation == 7
    assert ACCEPTANCE.newest([b"garbage"]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "http://user:secret@host/v1"},
        {"headers": {"X-A": "line\r\nbreak"}},
        {"headers": {"bad name": "x"}},
        {"ca_bundle": "no certificate"},
        {"url": "http://host:99999/v1"},
    ],
)
def test_what_the_relay_cannot_act_on_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(SnapshotRejected, match="provider legacy"):
        compile_snapshot(
            document(providers=(provider("legacy", **changes), provider("holysheep"))), ""
        )


def test_request_heads_are_ready_to_send() -> None:
    one = provider(
        "legacy",
        url="https://api.example.com:8443/openai/v1/",
        headers={"X-Fixed": "yes"},
        query={"api-version": "2024 06"},
    )
    snapshot = compile_snapshot(document(providers=(one, provider("holysheep"))), "")
    upstream = snapshot.upstreams["legacy"]
    heads = {endpoint.value: head for endpoint, head in upstream.heads.items()}
    assert heads["chat.completions"] == (
        b"POST /openai/v1/chat/completions?api-version=2024+06 HTTP/1.1\r\n"
        b"host: api.example.com:8443\r\naccept-encoding: identity\r\nx-fixed: yes\r\n"
    )
    assert (upstream.origin.host, upstream.origin.port) == ("api.example.com", 8443)
    assert {b"x-fixed", b"authorization"} <= upstream.dropped


@pytest.mark.parametrize(
    ("composed_by", "brought_by", "latest", "code"),
    [
        (0, 0, 0, "accepted"),
        (3, 0, 0, "accepted"),
        (3, 3, 3, "accepted"),
        (3, 4, 4, "accepted"),
        (4, 0, 3, "accepted"),
        (0, 4, 4, "accepted"),
        (3, 3, 4, "stale_epoch"),
        (3, 0, 4, "stale_epoch"),
        (0, 0, 1, "stale_epoch"),
    ],
)
def test_only_what_the_latest_leader_composed_or_brings_is_taken(
    composed_by: int, brought_by: int, latest: int, code: str
) -> None:
    in_force = ACCEPTANCE.judge(sealed(generation=5), None)
    newer = sealed(generation=6, epoch=composed_by)
    found = judged(newer, in_force, brought_by=Leader(brought_by), latest=Leader(latest))
    assert found == code


def test_a_former_leader_is_told_so_whatever_it_brings() -> None:
    in_force = ACCEPTANCE.judge(sealed(generation=5, epoch=1), None)
    again = in_force.envelope
    assert judged(again, in_force, brought_by=Leader(1), latest=Leader(2)) == "stale_epoch"


def test_what_is_in_force_stays_under_any_leader() -> None:
    in_force = ACCEPTANCE.judge(sealed(generation=5, epoch=1), None)
    assert ACCEPTANCE.judge(in_force.envelope, in_force, latest=Leader(9)) is in_force


def test_of_kept_and_mounted_documents_the_mounted_one_of_a_former_leader_is_passed_over() -> None:
    kept, mounted = sealed(generation=5, epoch=1), sealed(generation=6, epoch=1)
    assert ACCEPTANCE.newest([kept, mounted], latest=Leader(2)) == ACCEPTANCE.judge(kept, None)
    assert ACCEPTANCE.newest([mounted], latest=Leader(2)) == ACCEPTANCE.judge(mounted, None)


def test_a_leader_shows_itself_by_our_signature_alone() -> None:
    shown = leader_epoch.show(7, PRIVATE_KEY)
    assert ACCEPTANCE.leader(shown) == Leader(7, shown)
    assert ACCEPTANCE.leader("") == Leader()
    forged = [
        shown.replace("7 ", "8 ", 1),
        leader_epoch.show(7, Ed25519PrivateKey.generate()),
        "7",
        "7 ====",
        "-1 " + shown.partition(" ")[2],
        "\u0667 " + shown.partition(" ")[2],
        "9" * 100_000,
    ]
    for one in forged:
        with pytest.raises(DocumentRejected):
            ACCEPTANCE.leader(one)
