"""What the copy of a settled tenant has in place of what is the tenant's own: name, UIDs, API keys, signatures, and what else is given."""

import base64
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from bench.tenants import objects
from bench.tenants.templates import Template
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_contract import seal
from relay_operator import names
from relay_operator.cluster.api_key_secrets import new_key
from relay_operator.decisions.api_keys.in_force import digest_of
from relay_operator.decisions.api_keys.stamps import mark_of
from relay_operator.reconcile.publishing.signed_notes import SignedNotes

Manifest = Mapping[str, Any]

_PURPOSES: Final = {
    names.ANNOTATION_SPEC: "spec",
    names.ANNOTATION_TEMPLATE: "pod template",
    names.ANNOTATION_UPSTREAMS: "upstreams",
    names.ANNOTATION_STAMP: "namespace",
}
"""Of the signed notes, by the annotation that holds each."""


class Model:
    """A tenant that copies are made of: its number, its Tenant's UID, those of all its objects, that one included, and its API keys.

    others are texts of which each copy is given its own, such as addresses. signed are the objects that hold what the operator
    signed with its key, for which each copy has a signature of its own.
    """

    def __init__(
        self,
        number: int,
        *,
        tenant_uid: str,
        uids: Iterable[str],
        api_keys: Iterable[str],
        others: Iterable[str],
        signed: Iterable[Manifest],
        signing_key: Ed25519PrivateKey,
    ) -> None:
        self._name = objects.tenant_name(number)
        self._tenant_uid, self._uids = tenant_uid, frozenset(uids)
        self._api_keys = tuple(api_keys)
        self._signing_key = signing_key
        of_keys = (text for key in self._api_keys for text in _told_of(key))
        texts = (self._name, *self._uids, *of_keys, *others)
        self._unsigned = [one.encode() for one in texts]
        self._notes: list[tuple[bytes, SignedNotes, Template]] = []
        self._payloads: list[tuple[bytes, Template]] = []
        for one in signed:
            self._find_signatures(one)

    def _find_signatures(self, manifest: Manifest) -> None:
        annotations = manifest["metadata"].get("annotations") or {}
        for name in annotations.keys() & _PURPOSES.keys():
            signature, _, text = annotations[name].partition(" ")
            notes = SignedNotes(self._signing_key, purpose=_PURPOSES[name])
            template = Template(text.encode(), self._unsigned)
            self._notes.append((signature.encode(), notes, template))
        if manifest["metadata"]["name"] == names.DOCUMENT_CONFIGMAP:
            envelope = orjson.loads(document(manifest))
            template = Template(envelope["payload"].encode(), self._unsigned)
            self._payloads.append((envelope["signature"].encode(), template))

    def template(self, stored: bytes) -> Template:
        """Returns the template of an object, or of another text, of the tenant."""
        signatures = [signature for signature, *_ in self._notes]
        signatures += [signature for signature, _ in self._payloads]
        return Template(stored, [*self._unsigned, *signatures])

    def texts(self, number: int, others: Mapping[str, str]) -> dict[bytes, bytes]:
        """Returns what a copy of this number has, by what the model has."""
        own = {uid: str(uuid.uuid4()) for uid in self._uids}
        name = objects.tenant_name(number)
        given = {self._name: name, **others, **own}
        for key in self._api_keys:
            given |= zip(_told_of(key), _told_of(new_key(name)), strict=True)
        found = {before.encode(): after.encode() for before, after in given.items()}
        signed: dict[bytes, bytes] = {}
        for signature, notes, text in self._notes:
            note = notes.sign(own[self._tenant_uid], text.rendered(found).decode())
            signed[signature] = note.partition(" ")[0].encode()
        for signature, payload in self._payloads:
            envelope = seal.seal_payload(payload.rendered(found).decode(), self._signing_key)
            signed[signature] = orjson.loads(envelope)["signature"].encode()
        return found | signed


def document(configmap: Manifest) -> str:
    """Returns the sealed document that a tenant's ConfigMap holds."""
    [envelope] = configmap["data"].values()
    return str(envelope)


def api_keys_in(secret: Manifest) -> list[str]:
    """Returns the API keys of a tenant, from their Secret."""
    return [base64.b64decode(entry).decode() for entry in secret["data"].values()]


def _told_of(key: str) -> tuple[str, ...]:
    """Returns an API key as it is stored, as the API shows it in a Secret, and what else is told of it: its digest, and its mark."""
    return key, base64.b64encode(key.encode()).decode(), digest_of(key), mark_of(key)


def key_in(secret: Manifest) -> Ed25519PrivateKey:
    """Returns the key that the operator has made for itself, from its Secret."""
    [entry] = secret["data"].values()
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(entry))
