"""The last spec of a Tenant that could be used, noted on its document's ConfigMap.

While a newer spec cannot be used, everything that the Tenant owns is kept as this one asks for, also after a restart.
"""

import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_operator import names
from relay_operator.api.tenant import Origin, Tenant
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composable
from relay_operator.reconcile.publishing.signed_notes import SignedNotes

_ORIGIN = "origin"
"""Beside the fields of the spec, which have no such one."""


class ValidSpecs:
    def __init__(self, signing_key: Ed25519PrivateKey) -> None:
        self._notes = SignedNotes(signing_key, purpose="spec")

    def note(self, tenant: Tenant) -> str:
        """Returns the spec as the annotation holds it."""
        spec = tenant.spec.model_dump(mode="json", by_alias=True)
        kept = spec | {_ORIGIN: tenant.origin.model_dump(mode="json", by_alias=True)}
        text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        return self._notes.sign(tenant.metadata.uid, text)

    def read(
        self, metadata: Mapping[str, Any], configmap: Mapping[str, Any] | None
    ) -> Tenant | None:
        """Returns the Tenant with this metadata as it last could be used; None where that is not noted."""
        annotations = (configmap or {}).get("metadata", {}).get("annotations") or {}
        note = str(annotations.get(names.ANNOTATION_SPEC, ""))
        text = self._notes.read(str(metadata["uid"]), note)
        if text is None:
            return None
        try:
            spec = json.loads(text)
            origin = Origin.model_validate(spec.pop(_ORIGIN, {}))
            tenant = composable.filled_tenant({"metadata": metadata, "spec": spec})
            return tenant.model_copy(update={"origin": origin})
        except InvalidSpec:
            # an older version of the operator could use it
            return None
