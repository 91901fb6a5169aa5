"""Copies of a tenant: other texts in what etcd stores, signatures of their own, and addresses that nobody has."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from bench.tenants import filling, objects
from bench.tenants.copies import Model, api_keys_in, document
from bench.tenants.filling import Individual
from bench.tenants.templates import Template, uid_of
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SIGNING_KEY
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import seal
from relay_operator import names
from relay_operator.decisions.api_keys.in_force import digest_of
from relay_operator.decisions.api_keys.stamps import mark_of
from relay_operator.reconcile.publishing.signed_notes import SignedNotes

Message = Sequence["tuple[int, int | bytes | str | Message]"]
"""Fields: number, and a varint, eight bytes, text or an inner message."""

KEY = Ed25519PrivateKey.from_private_bytes(b"\7" * 32)
UID, OTHER_UID = "11111111-2222-4333-8444-555555555555", "66666666-7777-4888-8999-000000000000"
API_KEY = "sk-relay-fleet-00000-secret"
TEXTS = {
    b"fleet-00000": b"fleet-12345",
    b"10.96.4.1": b"10.96.255.255",
    b"10.200.0.1": b"10.200.128.77",
    b"10.200.0.12": b"10.200.9.9",
}


def encoded(message: Message) -> bytes:
    """Returns the message as Protocol Buffers."""
    made = b""
    for number, value in message:
        match value:
            case int():
                made += varint(number << 3) + varint(value)
            case bytes():
                made += varint(number << 3 | 1) + value
            case str():
                made += varint(number << 3 | 2) + varint(len(value)) + value.encode()
            case _:
                content = encoded(value)
                made += varint(number << 3 | 2) + varint(len(content)) + content
    return made


def varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([low])


def stored(message: Message) -> bytes:
    return b"k8s\0" + encoded([(1, [(1, "v1"), (2, "Pod")]), (2, message), (3, ""), (4, "")])


def replaced(message: Message, texts: Mapping[bytes, bytes]) -> Message:
    def one(value: int | bytes | str | Message) -> int | bytes | str | Message:
        if isinstance(value, int | bytes):
            return value
        if not isinstance(value, str):
            return replaced(value, texts)
        for before in sorted(texts, key=len, reverse=True):
            value = value.replace(before.decode(), texts[before].decode())
        return value

    return [(number, one(value)) for number, value in message]


AFFIXES = st.text(alphabet="abcdefghijklmnopqrstuvwxyz-:", max_size=12)
LEAVES = (
    st.integers(0, 2**63)
    | st.binary(min_size=8, max_size=8)
    | st.builds(
        lambda before, text, after: before + text + after,
        AFFIXES,
        st.sampled_from(["", *(one.decode() for one in TEXTS)]),
        AFFIXES,
    )
)
MESSAGES = st.recursive(
    st.lists(st.tuples(st.integers(1, 500), LEAVES), max_size=4),
    lambda inner: st.lists(st.tuples(st.integers(1, 500), LEAVES | inner), max_size=4),
    max_leaves=30,
)


@given(MESSAGES)
def test_a_stored_object_is_the_same_with_other_texts_of_any_length(message: Message) -> None:
    template = Template(stored(message), TEXTS)
    assert template.rendered({text: text for text in TEXTS}) == stored(message)
    assert template.rendered(TEXTS) == stored(replaced(message, TEXTS))


def test_a_length_that_a_longer_text_takes_over_127_gets_a_second_byte() -> None:
    address: Message = [(1, "10.96.4.1"), (2, "x" * 112)]
    message: Message = [(3, [(12, address), (6, "10.96.4.1")])]
    made = Template(stored(message), TEXTS).rendered(TEXTS)
    assert made == stored(replaced(message, TEXTS))
    assert len(made) == len(stored(message)) + 2 * 4 + 1


def test_a_custom_resource_is_changed_as_text() -> None:
    value = b'{"metadata":{"name":"fleet-00000","uid":"%s"}}\n' % UID.encode()
    assert Template(value, TEXTS).rendered(TEXTS) == value.replace(b"00000", b"12345")
    assert uid_of(value) == UID


def test_the_uid_is_that_of_the_metadata() -> None:
    owner: Message = [(1, "Tenant"), (4, OTHER_UID)]
    metadata: Message = [(1, "relay"), (3, "relay-fleet-00000"), (5, UID), (13, owner)]
    spec: Message = [(5, OTHER_UID)]
    assert uid_of(stored([(1, metadata), (2, spec)])) == UID


def model(signed: Sequence[Mapping[str, Any]]) -> Model:
    return Model(
        0,
        tenant_uid=UID,
        uids=[UID, OTHER_UID],
        api_keys=[API_KEY],
        others=["10.200.0.1"],
        signed=signed,
        signing_key=KEY,
    )


@pytest.mark.parametrize(
    ("annotation", "purpose"),
    [
        (names.ANNOTATION_SPEC, "spec"),
        (names.ANNOTATION_TEMPLATE, "pod template"),
        (names.ANNOTATION_UPSTREAMS, "upstreams"),
        (names.ANNOTATION_STAMP, "namespace"),
    ],
)
def test_a_copys_notes_are_signed_for_its_own_tenant(annotation: str, purpose: str) -> None:
    notes = SignedNotes(KEY, purpose=purpose)
    note = notes.sign(UID, '{"of":"relay-fleet-00000"}')
    copied = model([{"metadata": {"name": "relay", "annotations": {annotation: note}}}])
    texts = copied.texts(7, {"10.200.0.1": "10.200.128.7"})
    made = copied.template(note.encode()).rendered(texts).decode()
    assert notes.read(texts[UID.encode()].decode(), made) == '{"of":"relay-fleet-00007"}'
    assert notes.read(UID, made) is None


def test_a_copys_document_is_sealed_anew() -> None:
    payload = json.dumps({"tenant": {"name": "fleet-00000"}})
    envelope = seal.seal_payload(payload, KEY)
    configmap = {"metadata": {"name": names.DOCUMENT_CONFIGMAP}, "data": {"relay.json": envelope}}
    copied = model([configmap])
    texts = copied.texts(7, {"10.200.0.1": "10.200.128.7"})
    made = json.loads(copied.template(document(configmap).encode()).rendered(texts))
    assert made["payload"] == payload.replace("00000", "00007")
    assert made == json.loads(seal.seal_payload(made["payload"], KEY))


def test_each_copy_has_uids_of_its_own() -> None:
    copied = model([])
    made = [copied.texts(number, {"10.200.0.1": "10.200.128.7"}) for number in (1, 2)]
    uids = {texts[uid.encode()] for texts in made for uid in (UID, OTHER_UID)}
    assert len(uids | {UID.encode(), OTHER_UID.encode()}) == 6


@in_virtual_time
async def test_an_operator_that_starts_over_copies_writes_no_more_than_how_many_there_are() -> None:
    stage = Stage()
    stage.provider("legacy")
    name = objects.tenant_name(0)
    stage.tenant(name)
    life = await stage.operator()
    await stage.settle()
    stage.pod(f"{name}-pod", tenant=name, ip="10.0.1.0")
    stage.route(tenant=name)
    stage.roll(name)
    await stage.settle(60)
    await life.end()
    copy(stage, range(1, 4))
    life = await stage.operator()
    await stage.settle(60)
    assert life.changes == [("Provider", "legacy")]
    assert stage.status("Provider", "legacy")["tenants"] == 4
    in_force = {one.tenant.name for one in stage.relays.documents.values()}
    assert in_force == {objects.tenant_name(number) for number in range(4)}
    # and it has taken them for its own
    stage.tenant(objects.tenant_name(3), queue={"concurrency": 7})
    await stage.settle()
    assert {"ConfigMap", "Tenant"} <= {kind for kind, _ in life.changes}
    await life.end()


def copy(stage: Stage, numbers: range) -> None:
    """Copies the stage's first tenant, as it is stored."""
    server, name = stage.server, objects.tenant_name(0)
    keys = server.keys(name)
    found = [server.stored(kind, one, namespace=space) for kind, space, one in keys]
    copied = Model(
        0,
        tenant_uid=server.stored("Tenant", name)["metadata"]["uid"],
        uids=[one["metadata"]["uid"] for one in found],
        api_keys=api_keys_in(
            server.stored("Secret", names.API_KEYS_SECRET, namespace=objects.namespace(0))
        ),
        others=["10.0.1.0"],
        signed=found,
        signing_key=SIGNING_KEY,
    )
    templates = [copied.template(json.dumps(one).encode()) for one in found]
    for number in numbers:
        texts = copied.texts(number, {"10.0.1.0": f"10.0.1.{number}"})
        for template, key in zip(templates, keys, strict=True):
            server.keep(json.loads(template.rendered(texts)), server.owners(key))


def test_a_copy_has_an_api_key_of_its_own_wherever_something_tells_of_it() -> None:
    told = f"{API_KEY} {base64.b64encode(API_KEY.encode()).decode()} {digest_of(API_KEY)} {mark_of(API_KEY)}"
    copied = model([])
    texts = copied.texts(7, {"10.200.0.1": "10.200.128.7"})
    key, *others = copied.template(told.encode()).rendered(texts).decode().split()
    assert key.startswith("sk-relay-fleet-00007-")
    assert others == [base64.b64encode(key.encode()).decode(), digest_of(key), mark_of(key)]


def test_no_two_copies_share_an_address_and_none_is_taken() -> None:
    taken = {"10.96.4.0", "10.96.4.2", "10.96.77.1"}
    made = filling.individuals(range(1000, 5000), taken=taken, nodes=51, hash_length=9)
    services = {one.service_address for one in made}
    assert len(services) == len({one.pod_address for one in made}) == 4000
    assert not services & taken
    assert {len(one.template_hash) for one in made} == {9}
    pods = [sum(one.node == objects.node_name(number) for one in made) for number in range(51)]
    assert max(pods) - min(pods) == 1
    assert max(pods) < objects.PODS_OF_A_NODE


def test_the_keys_of_a_tenant_are_found_but_for_events() -> None:
    own = Individual("10.200.0.1", "10.96.4.1", "fake-000", "relay-abc-xyz", "abc")
    theirs = [
        b"/registry/relay-operator.dev/tenants/fleet-00000",
        b"/registry/relay-operator.dev/relayroutes/relay-fleet-00000/chat",
        b"/registry/namespaces/relay-fleet-00000",
        b"/registry/services/specs/relay-fleet-00000/relay",
        b"/registry/ipaddresses/10.96.4.1",
    ]
    others = [
        b"/registry/events/relay-fleet-00000/relay.17",
        b"/registry/relay-operator.dev/tenants/fleet-00001",
        b"/registry/pods/relay-fleet-00001/relay-abc-xyz",
        b"/registry/ipaddresses/10.96.4.11",
        b"/registry/minions/fake-000",
    ]
    assert filling.keys_of([*theirs, *others], 0, own) == theirs
