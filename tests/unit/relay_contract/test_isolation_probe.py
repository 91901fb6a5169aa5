"""A relay connects to targets of a few kinds alone, and takes requests that were signed for this purpose alone."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from relay_contract.isolation_probe import (
    DECOY_PORT,
    MAX_TARGETS,
    ProbeRefused,
    ProbeRequest,
    Target,
    TargetKind,
    open_request,
    seal_request,
)

KEY = Ed25519PrivateKey.generate()
CHALLENGE = "0" * 32


def request(*targets: Target) -> ProbeRequest:
    return ProbeRequest(tenant_uid="uid", challenge=CHALLENGE, targets=targets)


DECOY = Target(kind=TargetKind.DECOY, address="10.244.0.7", port=DECOY_PORT)


@pytest.mark.parametrize(
    ("kind", "address", "port"),
    [
        ("Decoy", "10.244.0.7", 8090),
        ("Decoy", "127.0.0.1", DECOY_PORT),
        ("Decoy", "::1", DECOY_PORT),
        ("Decoy", "169.254.169.254", DECOY_PORT),
        ("ApiServer", "0.0.0.0", 443),
        ("ApiServer", "224.0.0.1", 443),
        ("ApiServer", "kubernetes.default.svc", 443),
        ("ApiServer", "10.96.0.1", 0),
        ("Metadata", "169.254.169.253", 80),
        ("Metadata", "169.254.169.254", 8080),
        ("Neighbour", "10.244.0.9", 22),
        ("Node", "10.0.0.4", 22),
        ("NodePort", "10.0.0.4", 443),
        ("Anything", "10.0.0.4", 443),
    ],
)
def test_a_target_of_no_known_kind_is_none(kind: str, address: str, port: int) -> None:
    with pytest.raises(ValidationError):
        Target.model_validate({"kind": kind, "address": address, "port": port})


def test_a_sealed_request_is_opened_by_whom_it_is_for() -> None:
    asked = request(DECOY)
    assert open_request(seal_request(asked, KEY).encode(), [KEY.public_key()]) == asked
    stranger = [Ed25519PrivateKey.generate().public_key()]
    with pytest.raises(ProbeRefused, match="no trusted key"):
        open_request(seal_request(asked, KEY).encode(), stranger)


def test_what_was_signed_and_then_changed_is_refused() -> None:
    envelope = json.loads(seal_request(request(DECOY), KEY))
    envelope["payload"] = envelope["payload"].replace("10.244.0.7", "10.244.0.8")
    with pytest.raises(ProbeRefused) as refused:
        open_request(json.dumps(envelope).encode(), [KEY.public_key()])
    assert refused.value.code == "bad_signature"


def test_a_request_has_a_bounded_number_of_targets() -> None:
    with pytest.raises(ValidationError):
        request(*[DECOY] * (MAX_TARGETS + 1))
