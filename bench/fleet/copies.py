"""Copies of a tenant that an operator has brought up, with names, UIDs, API keys, addresses and signatures of their own: a fleet in seconds."""

from collections.abc import Mapping

import orjson
from bench.fleet import controllers
from bench.fleet.fleet_server import FleetServer
from bench.tenants import objects
from bench.tenants.copies import Model, api_keys_in, key_in

from relay_operator import names


class Copies:
    """Copies the tenant of a number to others. namespace is the operator's."""

    def __init__(self, server: FleetServer, number: int, *, namespace: str) -> None:
        self._server = server
        keys = server.keys(objects.tenant_name(number))
        found = [server.get(kind, name, namespace=space) for kind, space, name in keys]
        manifests = [one for one in found if one is not None]
        space = objects.namespace(number)
        [self._pod] = server.list("Pod", namespace=space)
        secret = server.stored("Secret", names.SIGNING_KEY_SECRET, namespace=namespace)
        api_keys = server.stored("Secret", names.API_KEYS_SECRET, namespace=space)
        tenant = server.stored("Tenant", objects.tenant_name(number))
        self._model = Model(
            number,
            tenant_uid=tenant["metadata"]["uid"],
            uids=(one["metadata"]["uid"] for one in manifests),
            api_keys=api_keys_in(api_keys),
            others=self._others(number),
            signed=manifests,
            signing_key=key_in(secret),
        )
        self._objects = [
            (self._model.template(orjson.dumps(one)), server.owners(key))
            for one, key in zip(manifests, keys, strict=True)
        ]

    def add(self, number: int) -> None:
        """Adds a tenant of this number."""
        texts = self._model.texts(number, self._others(number))
        for template, owners in self._objects:
            self._server.keep(orjson.loads(template.rendered(texts)), owners)

    def _others(self, number: int) -> Mapping[str, str]:
        """Returns what stands in a copy for what in the model. The number of a pod is one above that of its tenant."""
        metadata, status = self._pod["metadata"], self._pod["status"]
        made = controllers.hash_of(number + 1)
        return {
            f'"{status["podIP"]}"': f'"{controllers.address(number + 1)}"',
            f'"{status["hostIP"]}"': f'"{controllers.host(number + 1)}"',
            metadata["name"]: f"relay-{made}-{number + 1:05x}",
            metadata["labels"]["pod-template-hash"]: made,
        }
