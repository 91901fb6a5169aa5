"""Copies of a tenant that an operator has brought up, with names, UIDs, addresses and signatures of their own: a fleet in seconds."""

import base64
import itertools
from collections.abc import Mapping
from typing import Final

import orjson
from bench.fleet import controllers
from bench.fleet.fleet_server import FleetServer, Manifest
from bench.tenants import objects
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_contract import seal
from relay_operator import names
from relay_operator.reconcile.publishing.signed_notes import SignedNotes

_PURPOSES: Final = {
    names.ANNOTATION_SPEC: "spec",
    names.ANNOTATION_TEMPLATE: "pod template",
    names.ANNOTATION_UPSTREAMS: "upstreams",
    names.ANNOTATION_STAMP: "namespace",
}
"""Of the signed notes, by the annotation that holds each."""
_FIRST_UID: Final = 10**7


class Copies:
    """Copies the tenant of a number to others. signing_key is the operator's."""

    def __init__(self, server: FleetServer, model: int, signing_key: Ed25519PrivateKey) -> None:
        self._server = server
        self._signing_key = signing_key
        self._uids = itertools.count(_FIRST_UID)
        self._name = objects.tenant_name(model)
        self._objects = [
            (
                orjson.dumps(server.get(kind, name, namespace=space)),
                server.owners((kind, space, name)),
            )
            for kind, space, name in server.keys(self._name)
        ]
        [pod] = server.list("Pod", namespace=objects.namespace(model))
        self._pod = pod
        tenant = server.stored("Tenant", self._name)
        self._tenant_uid = str(tenant["metadata"]["uid"])
        self._all_uids = [orjson.loads(text)["metadata"]["uid"] for text, _ in self._objects]

    def add(self, number: int) -> None:
        """Adds a tenant of this number."""
        renamed = self._renamed(number)
        for text, owners in self._objects:
            for before, after in renamed.items():
                text = text.replace(before, after)
            made = orjson.loads(text)
            self._sign(made, renamed[self._tenant_uid.encode()].decode())
            self._server.keep(made, owners)

    def _renamed(self, number: int) -> Mapping[bytes, bytes]:
        """Returns what stands in a copy for what in the model. The number of a pod is one above that of its tenant."""
        pod, labels = self._pod["status"], self._pod["metadata"]["labels"]
        of_model = str(labels["pod-template-hash"])
        found = {self._name: objects.tenant_name(number)}
        found |= {uid: f"00000000-0000-4000-8000-{next(self._uids):012x}" for uid in self._all_uids}
        found[f'"{pod["podIP"]}"'] = f'"{controllers.address(number + 1)}"'
        found[f'"{pod["hostIP"]}"'] = f'"{controllers.host(number + 1)}"'
        found[f'{of_model}-{int(of_model, 16):05x}"'] = (
            f'{controllers.hash_of(number + 1)}-{number + 1:05x}"'
        )
        found[of_model] = controllers.hash_of(number + 1)
        return {before.encode(): after.encode() for before, after in found.items()}

    def _sign(self, made: Manifest, tenant_uid: str) -> None:
        annotations = made["metadata"].get("annotations") or {}
        for name in annotations.keys() & _PURPOSES.keys():
            _, _, text = annotations[name].partition(" ")
            notes = SignedNotes(self._signing_key, purpose=_PURPOSES[name])
            annotations[name] = notes.sign(tenant_uid, text)
        if made["kind"] == "ConfigMap":
            [file] = made["data"]
            payload = orjson.loads(made["data"][file])["payload"]
            made["data"][file] = seal.seal_payload(payload, self._signing_key)


def signing_key(server: FleetServer, namespace: str) -> Ed25519PrivateKey:
    """Reads the key that the operator has made for itself."""
    secret = server.stored("Secret", names.SIGNING_KEY_SECRET, namespace=namespace)
    [entry] = secret["data"].values()
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(entry))
