"""Builds relay documents for tests from a flat list of fields."""

from typing import Any, Final

from relay_contract.document import Catalogue, Document, TenantDocument

TENANT_FIELDS: Final = frozenset(TenantDocument.model_fields)


def document_of(**fields: Any) -> Document:
    """Returns a document; each field goes to the part that has it (providers and tool servers to the catalogue)."""
    tenant = {name: value for name, value in fields.items() if name in TENANT_FIELDS}
    rest = {name: value for name, value in fields.items() if name not in TENANT_FIELDS}
    catalogue = Catalogue(
        providers=tuple(rest.pop("providers", ())), tool_servers=tuple(rest.pop("tool_servers", ()))
    )
    return Document(catalogue=catalogue, tenant=TenantDocument(**tenant), **rest)


def with_tenant(document: Document, **changes: Any) -> Document:
    """Returns the document with other values in its tenant's part."""
    return document.model_copy(update={"tenant": document.tenant.model_copy(update=changes)})
