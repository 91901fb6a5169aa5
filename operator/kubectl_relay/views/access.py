"""Tells how a tenant is called: its address, its keys by name, and who may call. No secret."""

from dataclasses import dataclass

from kubectl_relay.views import raw
from kubectl_relay.views.raw import Object
from kubectl_relay.views.tenant import KeyView, keys
from relay_operator.names import API_KEYS_SECRET

_PREVIOUS = ".previous"
UNKNOWN_ENDPOINT = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysView:
    """endpoint is empty where it is not known. callers are namespaces and address blocks that network policies let in.

    read_by is the command that prints a key; shown has keys by name, only those that were asked for.
    """

    tenant: str
    namespace: str
    endpoint: str
    keys: tuple[KeyView, ...]
    callers: tuple[str, ...]
    read_by: str
    notes: tuple[str, ...]


def keys_view(
    name: str,
    namespace: str,
    tenant: Object | None,
    entries: tuple[str, ...],
    notes: tuple[str, ...],
) -> KeysView:
    """Makes the view from the Tenant, or from the names of the Secret's entries where that may not be read."""
    told = keys(tenant) if tenant is not None else tuple(_of_entry(one) for one in entries)
    first = next((one.name for one in told if one.source != "Digest"), "")
    return KeysView(
        tenant=name,
        namespace=namespace,
        endpoint=raw.text(raw.part(tenant or {}, "status"), "endpoint"),
        keys=told,
        callers=_callers(tenant or {}),
        read_by=_reading(namespace, first) if first else "",
        notes=notes,
    )


def current_entries(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the entries of the Secret that are keys, and not those before them."""
    return tuple(one for one in entries if not one.endswith(_PREVIOUS))


def _of_entry(name: str) -> KeyView:
    return KeyView(
        name=name, source="Generated", since="", rotates_at="", previous_until="", priority=""
    )


def _callers(tenant: Object) -> tuple[str, ...]:
    network = raw.part(tenant, "spec", "network")
    service = raw.part(network, "service")
    ranges = service.get("loadBalancerSourceRanges")
    return (
        *(
            f"namespace {one['namespace']}" if "namespace" in one else raw.text(one, "cidr")
            for one in raw.entries(network, "allowFrom")
        ),
        *(ranges if isinstance(ranges, list) else ()),
    )


def _reading(namespace: str, name: str) -> str:
    template = f'{{{{index .data "{name}" | base64decode}}}}'
    return f"kubectl -n {namespace} get secret {API_KEYS_SECRET} -o go-template='{template}'"
