"""The relay document: its seal, its references, and that its worst case fits."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from tests.documents import document_of

from relay_contract import document, seal
from relay_contract.document import canonical_payload

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
FINGERPRINT = "0123456789ab"


def a_side(provider: str = "p", model: str | None = None) -> document.Side:
    return document.Side(provider=provider, model=model, fingerprint=FINGERPRINT)


def a_document(**changes: object) -> document.Document:
    fields: dict[str, object] = {
        "name": "finance",
        "uid": "u",
        "namespace": "relay-finance",
        "generation": 1,
        "providers": (document.Provider(name="p", url="https://api.example.com/v1"),),
        "routes": (document.Route(name="chat", stable=a_side()),),
    }
    return document_of(**(fields | changes))


def refusal(envelope: str | bytes) -> str:
    with pytest.raises(seal.DocumentRejected) as caught:
        seal.unseal(envelope, [KEY.public_key()])
    return caught.value.code


def test_a_sealed_document_comes_back_whole_with_its_digest() -> None:
    document, digest = seal.unseal(
        seal.seal(a_document(), KEY), [OTHER.public_key(), KEY.public_key()]
    )
    assert document == a_document()
    assert digest == seal.payload_digest(canonical_payload(a_document()))


def test_equal_documents_have_equal_text() -> None:
    assert seal.seal(a_document(), KEY) == seal.seal(a_document(), KEY)


def test_a_changed_payload_is_refused() -> None:
    envelope = json.loads(seal.seal(a_document(), KEY))
    envelope["payload"] = envelope["payload"].replace('"generation":1', '"generation":2')
    assert refusal(json.dumps(envelope)) == "bad_signature"


def test_another_signer_is_refused() -> None:
    assert refusal(seal.seal(a_document(), OTHER)) == "bad_signature"


@pytest.mark.parametrize(
    "envelope", ["", "{}", "[]", b"\xff\xfe", '{"payload":"{}","signature":"?"}', "null"]
)
def test_what_is_no_envelope_is_refused(envelope: str | bytes) -> None:
    assert refusal(envelope) == "bad_envelope"


def test_an_envelope_beyond_its_bound_is_refused_unread() -> None:
    assert refusal("x" * (2 * document.MAX_DOCUMENT_BYTES + 1)) == "bad_envelope"


def test_a_signed_document_that_does_not_fit_names_the_field() -> None:
    payload = canonical_payload(a_document()).replace('"generation":1', '"generation":0')
    signature = base64.b64encode(KEY.sign(payload.encode())).decode()
    with pytest.raises(seal.DocumentRejected, match="generation") as caught:
        seal.unseal(json.dumps({"payload": payload, "signature": signature}), [KEY.public_key()])
    assert caught.value.code == "invalid_document"


@pytest.mark.parametrize(
    "changes",
    [
        {"routes": (document.Route(name="chat", stable=a_side("nobody")),)},
        {"routes": (document.Route(name="chat", stable=a_side(), fallback=(a_side("nobody"),)),)},
        {
            "routes": (
                document.Route(name="a", stable=a_side()),
                document.Route(name="a", stable=a_side()),
            )
        },
        {"unknown": 1},
    ],
    ids=["unknown provider", "unknown fallback", "a route twice", "unknown field"],
)
def test_an_inconsistent_document_cannot_be_made(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        a_document(**changes)


def test_weight_without_a_canary_cannot_be_made() -> None:
    with pytest.raises(ValidationError, match="without a canary"):
        document.Route(name="chat", stable=a_side(), canary_percent=1)


def test_public_keys_are_read_one_or_several() -> None:
    text = ",".join(
        base64.b64encode(key.public_key().public_bytes_raw()).decode() for key in (KEY, OTHER)
    )
    assert len(seal.parse_public_keys(text)) == 2
    with pytest.raises(ValueError, match="32 bytes"):
        seal.parse_public_keys("bm90IGEga2V5")


def test_a_document_without_a_providers_newer_fields_is_one_that_older_relays_take() -> None:
    (written,) = json.loads(canonical_payload(a_document()))["catalogue"]["providers"]
    newer = {"proxy", "clientCertificate", "firstByteTimeoutSeconds", "idleTimeoutSeconds"}
    assert not {*newer, "keepAliveSeconds", "drain"} & written.keys()


def test_a_providers_way_out_survives_the_seal() -> None:
    there = document.Provider(
        name="p",
        url="https://api.example.com/v1",
        proxy=document.Proxy(host="10.1.2.3", port=3128, credentials_file="p_proxy"),
        client_certificate=document.ClientCertificate(certificate_file="a", key_file="b"),
        keep_alive_seconds=0,
        idle_timeout_seconds=1,
        first_byte_timeout_seconds=3600,
        drain=document.Drain(max_seconds=600, max_tokens=1_000_000),
    )
    sent = a_document(providers=(there,))
    assert seal.unseal(seal.seal(sent, KEY), [KEY.public_key()])[0] == sent


@pytest.mark.parametrize(
    "fields",
    [
        {"proxy": document.Proxy(host="10.1.2.3", port=3128)},
        {"client_certificate": document.ClientCertificate(certificate_file="a", key_file="b")},
    ],
)
def test_a_proxy_or_a_client_certificate_without_tls_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="https"):
        document.Provider(name="p", url="http://api.example.com/v1", **fields)


@pytest.mark.parametrize("token", ["", "a b", "x" * 65, "ä", "a\n"])
def test_a_preflight_has_a_short_token_without_spaces(token: str) -> None:
    with pytest.raises(ValidationError, match="preflight"):
        document.Route(name="chat", stable=a_side(), canary=a_side(), preflight=token)


def test_a_preflight_needs_a_canary() -> None:
    with pytest.raises(ValidationError, match="preflight without a canary"):
        document.Route(name="chat", stable=a_side(), preflight="0123456789ab/1")
