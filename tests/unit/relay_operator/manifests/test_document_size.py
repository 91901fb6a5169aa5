"""Sizes are those of the envelope, and room is given out to the last byte, route and Provider."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_contract import document, seal
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.api.tenant import Tenant
from relay_operator.manifests import composable, composition, document_size
from relay_operator.manifests.document_size import Claim, Room

KEY = Ed25519PrivateKey.generate()


def a_claim(size: int = 1, *providers: str) -> Claim:
    return Claim(size=size, providers=frozenset(providers))


def metadata(name: str) -> dict[str, Any]:
    return {"name": name, "uid": "u" * 36, "namespace": "relay-" + name}


def a_route(name: str, **spec: Any) -> document.Route:
    body = {"metadata": metadata(name), "spec": {"stable": {"provider": "legacy"}} | spec}
    return composable.fragment(RelayRoute.parse(body))


def a_provider(name: str, **spec: Any) -> document.Provider:
    body = {"metadata": metadata(name), "spec": {"endpoint": {"url": "https://a.example"}} | spec}
    return composition.provider_part(Provider.parse(body), share=1)


def envelope_bytes(base: document.TenantDocument, *parts: Any) -> int:
    routes = [part for part in parts if isinstance(part, document.Route)]
    providers = {part.name: part for part in parts if isinstance(part, document.Provider)}
    whole = composition.whole_document(base, routes, providers, generation=2**53 - 1)
    return len(seal.seal(whole, KEY).encode())


def a_tenant(**spec: Any) -> document.TenantDocument:
    tenant = Tenant.parse({"metadata": metadata("t" * 40), "spec": spec})
    # as large as they become during a rotation of all of them at once
    keys = {
        key.name: document.ApiKey(
            name=key.name, sha256="f" * 64, previous_sha256="e" * 64, next_sha256="d" * 64
        )
        for key in tenant.spec.api_keys
    }
    return composition.tenant_part(tenant, keys, replicas=1000)


def test_every_part_takes_of_the_envelope_what_was_counted() -> None:
    odd = '"\\' * 60
    base, plain = a_tenant(), a_route("plain")
    small = a_provider("legacy")
    large = a_provider("legacy", headers={"x-odd": odd}, models=[{"name": odd}])
    wide = a_route(
        "wide",
        match={"models": [odd, "plain"]},
        canary={"provider": "legacy", "model": "m", "percent": 1},
    )
    before = envelope_bytes(base, small, plain)
    by_route = envelope_bytes(base, small, plain, wide) - before
    assert by_route <= document_size.claim_of(wide).size <= by_route + 16
    by_models = envelope_bytes(base, large, plain) - before
    counted = document_size.size_of(large) - document_size.size_of(small)
    assert abs(counted - by_models) <= 16


def test_the_largest_tenants_part_has_its_place() -> None:
    rates = {"requestsPerMinute": 100_000_000, "tokensPerMinute": 1_000_000_000}
    base = a_tenant(
        apiKeys=[
            {"name": f"{number:02d}".ljust(40, "k"), "priority": "normal", "weight": 1000, **rates}
            for number in range(32)
        ],
        limits={
            "burstSeconds": 3600,
            "models": [{"name": f"{number:02d}".ljust(128, '"'), **rates} for number in range(64)],
            **rates,
        },
        queue={"concurrency": 10_000, "maxDepth": 100_000, "maxWait": "600s", "weight": 1000},
    )
    most = 2 * document.MAX_DOCUMENT_BYTES
    assert document_size.MOST_BYTES + envelope_bytes(base) <= most
    empty = json.dumps({"payload": "", "signature": base64.b64encode(bytes(64)).decode()})
    assert len(empty) < 200


def test_the_last_byte_is_given_and_no_more() -> None:
    room = Room({"large": 100}.__getitem__)
    room.take(a_claim(document_size.MOST_BYTES - 110, "large"))
    assert room.lacks(a_claim(10, "large")) == ""
    assert "it needs 11 bytes more" in room.lacks(a_claim(11, "large"))
    assert room.lacks(a_claim(110), instead_of=a_claim(100)) == ""
    assert not room.is_overdrawn


def test_a_provider_is_counted_once_and_given_back_with_its_last_route() -> None:
    room = Room(
        {"a": document_size.MOST_BYTES - 10, "b": document_size.MOST_BYTES - 10}.__getitem__
    )
    room.take(a_claim(1, "a"))
    assert room.lacks(a_claim(1, "a")) == ""
    assert room.lacks(a_claim(1, "b"))
    assert room.lacks(a_claim(1, "b"), instead_of=a_claim(1, "a")) == ""
    room.take(a_claim(1, "b"), instead_of=a_claim(1, "a"))
    assert not room.is_overdrawn
    assert room.lacks(a_claim(1, "a"))


def test_routes_and_providers_are_bounded_in_number() -> None:
    room = Room(lambda _: 0)
    for number in range(document_size.MOST_PROVIDERS):
        room.take(a_claim(1, str(number)))
    assert "the most is 100" in room.lacks(a_claim(1, "one more"))
    assert room.lacks(a_claim(1, "one more"), instead_of=a_claim(1, "0")) == ""
    for _ in range(document_size.MOST_ROUTES - document_size.MOST_PROVIDERS):
        room.take(a_claim(1, "0"))
    assert "500 routes in force" in room.lacks(a_claim(1, "0"))
    assert room.lacks(a_claim(1, "1"), instead_of=a_claim(1, "0")) == ""
    assert not room.is_overdrawn
