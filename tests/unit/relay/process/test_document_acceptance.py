"""Which documents are taken, and what the relay refuses to act on."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.relay.documents import PRIVATE_KEY, document, provider

from relay.process.document_acceptance import Acceptance, Accepted
from relay.routing.snapshot import SnapshotRejected, compile_snapshot
from relay_contract.document import Document
from relay_contract.seal import DocumentRejected, payload_digest, seal

ACCEPTANCE = Acceptance((PRIVATE_KEY.public_key(),), "uid-1")


def sealed(**changes: Any) -> bytes:
    return seal(document(**changes), PRIVATE_KEY).encode()


def judged(envelope: bytes, in_force: Accepted | None = None) -> str:
    try:
        ACCEPTANCE.judge(envelope, in_force)
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
