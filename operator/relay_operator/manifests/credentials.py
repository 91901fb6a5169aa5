"""The tenant's ConfigMap and Secrets."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from relay_contract import endpoints
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.manifests.environment import Manifest
from relay_operator.manifests.namespace import metadata


def document_configmap(tenant: Tenant, sealed: str, *, spec_note: str = "") -> Manifest:
    """Returns the ConfigMap with the sealed document, which the relay pods mount. spec_note is kept as an annotation."""
    annotated = {"annotations": {names.ANNOTATION_SPEC: spec_note}} if spec_note else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(tenant, names.DOCUMENT_CONFIGMAP) | annotated,
        "data": {endpoints.DOCUMENT_KEY: sealed},
    }


def api_keys(tenant: Tenant, keys: Mapping[str, str], *, stamps: str) -> Manifest:
    """Returns the Secret with the tenant's API keys, one entry per name, and since when they are what they are."""
    secret = _secret(tenant, names.API_KEYS_SECRET, keys)
    secret["metadata"]["annotations"] = {names.ANNOTATION_KEY_STAMPS: stamps}
    return secret


def upstream_keys(tenant: Tenant, keys: Mapping[str, str]) -> Manifest:
    """Returns the Secret with the keys of exactly those providers that the tenant's routes use, one entry each."""
    return _secret(tenant, names.UPSTREAM_SECRET, keys)


def image_pull(tenant: Tenant, auths: Mapping[str, Any]) -> Manifest:
    """Returns the Secret with the credentials for the registry of the relay's image, by registry."""
    config = json.dumps({"auths": auths}, sort_keys=True)
    secret = _secret(tenant, names.IMAGE_PULL_SECRET, {names.DOCKER_CONFIG: config})
    return {**secret, "type": "kubernetes.io/dockerconfigjson"}


def ledger_token(tenant: Tenant, token: str) -> Manifest:
    """Returns the Secret with the token by which the ledger knows the tenant's relays."""
    return _secret(tenant, names.LEDGER_SECRET, {names.LEDGER_TOKEN_ENTRY: token})


def _secret(tenant: Tenant, name: str, entries: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(tenant, name),
        "type": "Opaque",
        "data": {
            entry: base64.b64encode(value.encode()).decode()
            for entry, value in sorted(entries.items())
        },
    }
