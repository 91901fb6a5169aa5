"""Probes of a tenant's isolation: what the operator asks a relay pod to connect to, sealed, and what the pod found.

A relay connects to what the operator names and to nothing else: whoever reaches the admin port and cannot sign makes it
connect nowhere. A request holds the challenge that the pod gave out for the next one, so it is taken once and by this
container alone, whatever the clocks say. A target is an address and a port of one of a few kinds, never a range.
"""

import base64
import errno
import ipaddress
import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from relay_contract.document import Part
from relay_contract.endpoints import ADMIN_PORT, TRAFFIC_PORT

DECOY_PORT = 8091
"""A port of the operator's pod that is open to everybody but for the relays' own network policies."""
KUBELET_PORT = 10250
METADATA_ADDRESSES = ("169.254.169.254", "fd00:ec2::254")
"""Address at which clouds serve the credentials of a node to whoever asks."""
METADATA_PORT = 80

CONNECT_SECONDS = 1.0
"""A connection that a policy drops is waited for this long; one that is let through takes milliseconds."""
ANSWER_SECONDS = 2.0
"""All connections of a request together: they are made at the same time."""
MAX_TARGETS = 24
MAX_REQUEST_BYTES = 16 * 1024
MAX_ANSWER_BYTES = 4 * 1024

_REFUSED = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED})
_PURPOSE = b"relay-operator isolation probe\0"
"""Signed too: documents are signed with the same key."""

Challenge = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Address = Annotated[str, StringConstraints(min_length=2, max_length=45)]


class TargetKind(StrEnum):
    """Names the kinds of targets; a relay connects to no other."""

    DECOY = "Decoy"
    API_SERVER = "ApiServer"
    METADATA = "Metadata"
    NEIGHBOUR = "Neighbour"
    NODE = "Node"
    NODE_PORT = "NodePort"


class Outcome(StrEnum):
    """Names the ways in which an attempt to connect ends."""

    CONNECTED = "Connected"
    REFUSED = "Refused"
    NO_ANSWER = "NoAnswer"
    UNREACHABLE = "Unreachable"


_PORTS = {
    TargetKind.DECOY: {DECOY_PORT},
    TargetKind.METADATA: {METADATA_PORT},
    TargetKind.NEIGHBOUR: {TRAFFIC_PORT, ADMIN_PORT},
    TargetKind.NODE: {KUBELET_PORT},
}


class Target(Part):
    """One address and port to connect to. Nothing is sent on the connection."""

    kind: TargetKind
    address: Address
    port: Annotated[int, Field(ge=1, le=65535)]

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> Self:
        address = ipaddress.ip_address(self.address)
        if address.is_loopback or address.is_multicast or address.is_unspecified:
            raise ValueError(f"{self.address} is no address of another machine")
        if self.port not in _PORTS.get(self.kind, {self.port}):
            raise ValueError(f"port {self.port} is none of a target of kind {self.kind.value}")
        if (self.kind is TargetKind.METADATA) != (self.address in METADATA_ADDRESSES):
            raise ValueError(f"{self.address} is no target of kind {self.kind.value}")
        if self.kind is TargetKind.NODE_PORT and self.port < 1024:
            raise ValueError(f"port {self.port} is no node port")
        return self


class ProbeRequest(Part):
    """Asks one relay container to connect to some targets, once."""

    tenant_uid: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    challenge: Challenge
    targets: Annotated[tuple[Target, ...], Field(max_length=MAX_TARGETS)]


class ProbeAnswer(Part):
    """Tells how each attempt ended, in the order of the targets. serving: the pod's own traffic port takes connections."""

    model_config = ConfigDict(extra="ignore")

    outcomes: Annotated[tuple[Outcome, ...], Field(max_length=MAX_TARGETS)]
    serving: bool


class ProbeChallenge(Part):
    """Tells what the next request has to hold."""

    model_config = ConfigDict(extra="ignore")

    challenge: Challenge


class ProbeRefused(Exception):
    """A request was refused and nothing was connected to. code is one of bad_envelope, bad_signature, bad_request,
    wrong_tenant, stale_challenge, busy.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def outcome_of(error: OSError) -> Outcome:
    """Returns how an attempt ended that the kernel gave up."""
    if error.errno in _REFUSED:
        return Outcome.REFUSED
    return Outcome.NO_ANSWER if error.errno == errno.ETIMEDOUT else Outcome.UNREACHABLE


class _Envelope(Part):
    payload: str
    signature: str


def seal_request(request: ProbeRequest, private_key: Ed25519PrivateKey) -> str:
    """Returns the signed request (Ed25519, RFC 8032), as a relay takes it."""
    payload = request.model_dump_json(by_alias=True)
    signature = base64.b64encode(private_key.sign(_PURPOSE + payload.encode())).decode()
    return json.dumps({"payload": payload, "signature": signature})


def open_request(envelope: bytes, public_keys: Iterable[Ed25519PublicKey]) -> ProbeRequest:
    """Returns the request if one of the public keys signed it; raises ProbeRefused."""
    try:
        parsed = _Envelope.model_validate_json(envelope)
        signature = base64.b64decode(parsed.signature, validate=True)
    except (ValidationError, ValueError) as error:
        raise ProbeRefused("bad_envelope", "not an envelope with payload and signature") from error
    signed = _PURPOSE + parsed.payload.encode(errors="replace")
    if not any(_vouches(key, signature, signed) for key in public_keys):
        raise ProbeRefused("bad_signature", "no trusted key signed this request")
    try:
        return ProbeRequest.model_validate_json(parsed.payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ProbeRefused("bad_request", f"{place}: {first['msg']}") from error


def _vouches(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
