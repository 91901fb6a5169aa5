"""The relay document: what the control plane writes and the relay obeys, and the seal around it.

Everything both sides must agree on stands here: the shape of the document, its signature, the ports, paths and
environment names. The document holds no secret: API keys appear as SHA-256 digests, provider keys as file names.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

TRAFFIC_PORT = 8080
"""Where tenants' calls arrive."""
ADMIN_PORT = 8081
"""Where probes, metrics and document pushes arrive; never exposed by the tenant's Service."""

CONFIG_PATH = "/config"
"""PUT a sealed document, GET the acknowledgement of the one in force."""
HEALTH_PATH = "/healthz"
READY_PATH = "/readyz"
METRICS_PATH = "/metrics"
SLO_METRICS_PATH = "/metrics/slo"

DOCUMENT_MOUNT = "/etc/relay/document"
DOCUMENT_KEY = "relay.json"
"""The ConfigMap's only data key; the file below DOCUMENT_MOUNT that holds the sealed document."""
UPSTREAM_KEYS_MOUNT = "/etc/relay/upstream"
"""One file per provider, named like it, holding that provider's key."""
STATE_MOUNT = "/var/lib/relay"
"""An emptyDir: the accepted document survives a container restart here."""
TLS_MOUNT = "/etc/relay/tls"
"""tls.crt and tls.key when the tenant asked for TLS."""

ENV_TENANT_UID = "RELAY_TENANT_UID"
ENV_DOCUMENT_PUBLIC_KEYS = "RELAY_DOCUMENT_PUBLIC_KEYS"
"""Comma-separated base64 of raw 32-byte Ed25519 public keys; several during a rotation of the signing key."""
ENV_POD_NAME = "RELAY_POD_NAME"

MAX_DOCUMENT_BYTES = 512 * 1024
"""Worst case the custom resources' maxima allow; a ConfigMap holds 1 MiB."""

API_KEY_PREFIX = "sk-relay-"

Priority = Literal["high", "normal", "low"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Model = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Percent = Annotated[int, Field(ge=0, le=100)]


class DocumentRejected(Exception):
    """A sealed document was refused; the one in force stays.

    code is one of bad_envelope, bad_signature, invalid_document, wrong_tenant, stale_generation,
    conflicting_generation.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        # a model field named model_* is ours, not pydantic's
        protected_namespaces=(),
    )


class TenantIdentity(_Part):
    """Who this relay serves. The UID is the incarnation: a recreated tenant inherits nothing."""

    name: Name
    uid: Name
    namespace: Name
    tier: str = ""


class ApiKey(_Part):
    """One credential of the tenant, known by digest only. weight shares the tenant's seats between keys.

    Its rates bind beside the tenant's; None is no limit of its own. Each pod holds 1/replicas of them.
    """

    name: Name
    sha256: Sha256Hex
    priority: Priority = "normal"
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None


class Queue(_Part):
    """The tenant's admission queue, whole tenant (all replicas together)."""

    concurrency: Annotated[int, Field(ge=1, le=100_000)] = 64
    max_depth: Annotated[int, Field(ge=0, le=100_000)] = 256
    max_wait_seconds: Annotated[float, Field(ge=0, le=600)] = 10.0
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    guaranteed_seats: Annotated[int, Field(ge=0, le=100_000)] = 0


class ModelLimit(_Part):
    name: Model
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None


class Limits(_Part):
    """Rates of the whole tenant; None is unlimited. Each pod holds 1/replicas of them."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None
    burst_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    models: tuple[ModelLimit, ...] = ()


class ProviderAuth(_Part):
    """How a provider's key is presented. key_file is a name below UPSTREAM_KEYS_MOUNT; None sends no key."""

    header: Name = "Authorization"
    scheme: str = "Bearer"
    key_file: Name | None = None


class ProviderModel(_Part):
    """Prices are micro-USD per million tokens."""

    name: Model
    upstream_name: Model
    input_price: Annotated[int, Field(ge=0)] = 0
    output_price: Annotated[int, Field(ge=0)] = 0


class ProviderLimits(_Part):
    """This tenant's slice of the provider's quota, whole tenant; None is unlimited."""

    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None


class Provider(_Part):
    """An upstream. url ends before the endpoint's own path, e.g. https://api.example.com/v1."""

    name: Name
    url: Annotated[
        str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")
    ]
    auth: ProviderAuth = ProviderAuth()
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    ca_bundle: str | None = None
    models: tuple[ProviderModel, ...] = ()
    limits: ProviderLimits = ProviderLimits()


class Side(_Part):
    """One destination of a route. model None keeps the model asked for.

    The fingerprint names what is measured: the same provider and model carry the same fingerprint everywhere.
    """

    provider: Name
    model: Model | None = None
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{12}$")]


class Match(_Part):
    """Empty matches everything; the most specific route wins. task is the header X-Task-Type."""

    models: tuple[Model, ...] = ()
    tasks: tuple[Name, ...] = ()


class LatencyObjective(_Part):
    """Above max_milliseconds an attempt counts as slow for this signal."""

    signal: Literal["Overhead", "FirstToken", "Total"]
    max_milliseconds: Annotated[float, Field(gt=0)]


class Breaker(_Part):
    """Returns canary traffic to stable inside the relay: tripped when, within window_seconds, at least
    min_failures canary attempts failed and they are failure_percent of those finished."""

    enabled: bool = True
    window_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    min_failures: Annotated[int, Field(ge=1)] = 10
    failure_percent: Percent = 50
    open_seconds: Annotated[float, Field(gt=0)] = 30.0


class Route(_Part):
    """canary_percent of the sessions go to canary; shadow_percent of the requests are copied to it."""

    name: Name
    match: Match = Match()
    stable: Side
    canary: Side | None = None
    canary_percent: Percent = 0
    shadow_percent: Percent = 0
    fallback: tuple[Side, ...] = ()
    objectives: tuple[LatencyObjective, ...] = ()
    breaker: Breaker = Breaker()
    salt: str = ""

    @model_validator(mode="after")
    def _weight_needs_canary(self) -> Self:
        if self.canary is None and (self.canary_percent or self.shadow_percent):
            raise ValueError(f"route {self.name}: canaryPercent or shadowPercent without a canary")
        return self


class Document(_Part):
    """Everything one tenant's relay pods need, whole and consistent.

    generation grows with every change; a relay never goes back. replicas is the number of pods that share the
    tenant's limits and seats (ready or terminating).
    """

    version: Literal[1] = 1
    tenant: TenantIdentity
    generation: Annotated[int, Field(ge=1)]
    suspended: bool = False
    replicas: Annotated[int, Field(ge=1)] = 1
    keys: tuple[ApiKey, ...] = ()
    queue: Queue = Queue()
    limits: Limits = Limits()
    providers: tuple[Provider, ...] = ()
    routes: tuple[Route, ...] = ()

    @model_validator(mode="after")
    def _references_exist(self) -> Self:
        providers = _unique("provider", (provider.name for provider in self.providers))
        _unique("route", (route.name for route in self.routes))
        _unique("key", (key.name for key in self.keys))
        for route in self.routes:
            for side in (route.stable, route.canary, *route.fallback):
                if side is not None and side.provider not in providers:
                    raise ValueError(
                        f"route {route.name} names provider {side.provider}, which is not in the document"
                    )
        return self


class Acknowledgement(_Part):
    """What is in force in every worker process of a pod; generation 0 and an empty digest before the first.

    missing_keys names the document's providers whose key file is not there (yet); calls to them cannot succeed.
    """

    digest: str
    generation: int
    workers: int
    missing_keys: tuple[str, ...] = ()


class _Envelope(_Part):
    payload: str
    signature: str


def _unique(noun: str, names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{noun} {name} stands twice in the document")
        seen.add(name)
    return seen


def payload_digest(payload: str) -> str:
    """SHA-256, in hex, of a document's canonical text."""
    return hashlib.sha256(payload.encode()).hexdigest()


def canonical_payload(document: Document) -> str:
    """The document's text, byte-identical for equal documents."""
    return json.dumps(
        document.model_dump(mode="json", by_alias=True),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )


def seal(document: Document, private_key: Ed25519PrivateKey) -> str:
    """The signed envelope, as text for a ConfigMap or a push (Ed25519, RFC 8032, over the payload's UTF-8)."""
    payload = canonical_payload(document)
    signature = base64.b64encode(private_key.sign(payload.encode())).decode()
    return json.dumps({"payload": payload, "signature": signature}, ensure_ascii=False)


def unseal(envelope: str | bytes, public_keys: Iterable[Ed25519PublicKey]) -> tuple[Document, str]:
    """The document and its digest, once one of the public keys vouches for it.

    Raises DocumentRejected with bad_envelope, bad_signature or invalid_document.
    """
    if len(envelope) > 2 * MAX_DOCUMENT_BYTES:
        raise DocumentRejected(
            "bad_envelope", f"the envelope exceeds {2 * MAX_DOCUMENT_BYTES} bytes"
        )
    try:
        parsed = _Envelope.model_validate_json(envelope)
        signature = base64.b64decode(parsed.signature, validate=True)
    except (ValidationError, ValueError) as error:
        raise DocumentRejected(
            "bad_envelope", "not an envelope with payload and signature"
        ) from error
    if not any(_vouches(key, signature, parsed.payload.encode()) for key in public_keys):
        raise DocumentRejected("bad_signature", "no trusted key signed this document")
    try:
        document = Document.model_validate_json(parsed.payload)
    except ValidationError as error:
        raise DocumentRejected("invalid_document", _first_error(error)) from error
    return document, payload_digest(parsed.payload)


def parse_public_keys(text: str) -> tuple[Ed25519PublicKey, ...]:
    """The keys of ENV_DOCUMENT_PUBLIC_KEYS; raises ValueError when one is no raw Ed25519 key in base64."""
    return tuple(
        Ed25519PublicKey.from_public_bytes(base64.b64decode(part.strip(), validate=True))
        for part in text.split(",")
        if part.strip()
    )


def _vouches(key: Ed25519PublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.verify(signature, payload)
    except InvalidSignature:
        return False
    return True


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
