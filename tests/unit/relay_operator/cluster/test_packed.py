"""A manifest comes out of memory as it went in, and a tenant's children cost some kilobytes of it."""

import gc
import json
import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.manifests.test_tenant_objects import every_object

from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.packed import Packed, Packer, digest
from relay_operator.handlers.owned_objects import KINDS

_TENANTS = 12
_MOST_BYTES = 16 * 1024
"""Python objects of the same manifests are 120 kB."""

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def a_manifest(value: Any, kind: str = "ConfigMap") -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "c"}, "value": value}


@given(st.lists(values, min_size=1, max_size=4))
def test_every_manifest_comes_out_as_it_went_in(found: list[Any]) -> None:
    packer = Packer()
    packed = [packer.pack(a_manifest(value), kind="ConfigMap") for value in found]
    assert [one.manifest() for one in packed] == [a_manifest(value) for value in found]
    assert all(packed)


def test_a_manifest_that_is_longer_than_any_dictionary_comes_out_as_it_went_in() -> None:
    packer = Packer()
    long = [a_manifest([*range(first, first + 40_000)]) for first in (0, 1)]
    assert [packer.pack(one, kind="ConfigMap").manifest() for one in long] == long


def test_nothing_is_another_thing_than_an_empty_manifest() -> None:
    assert not Packed()


@given(values, values)
def test_a_digest_tells_manifests_apart_whatever_their_order(one: Any, other: Any) -> None:
    texts = [json.dumps(value, sort_keys=True) for value in (one, other)]
    assert (digest({"v": one}) == digest({"v": other})) == (texts[0] == texts[1])
    assert digest({"a": one, "b": other}) == digest({"b": other, "a": one})


def named(tenant: str) -> list[dict[str, Any]]:
    """Returns all that is watched of a tenant's children."""
    text = json.dumps([one for one in every_object() if one["kind"] in KINDS])
    found: list[dict[str, Any]] = json.loads(text.replace("finance", tenant))
    return found


async def test_a_tenants_children_cost_some_kilobytes_of_a_standby_and_of_a_leader() -> None:
    server = InMemoryApiServer()
    tenants = [f"tenant-{number:04}" for number in range(_TENANTS)]
    maker = OwnedObjects(server.connect())
    for tenant in tenants:
        for manifest in named(tenant):
            await maker.apply(manifest)
    children = OwnedObjects(server.connect())
    tracemalloc.start()
    try:
        for kind in KINDS:
            for body in server.list(kind):
                children.observe(json.loads(json.dumps(body)), deleted=False)
        standby = _held_bytes()
        for tenant in tenants:
            for manifest in named(tenant):
                assert not await children.apply(manifest)
        leader = _held_bytes()
    finally:
        tracemalloc.stop()
    assert standby / _TENANTS < _MOST_BYTES
    assert leader / _TENANTS < _MOST_BYTES


def _held_bytes() -> int:
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    return held
