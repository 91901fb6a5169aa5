"""What a relay needs to deliver records to the ledger: settings, a token, a place to keep them, and a way there.

Nothing of it is in a manifest where the platform runs no ledger.
"""

from relay_contract import endpoints
from relay_contract.billing.delivery import INGEST_PORT
from relay_operator import names
from relay_operator.manifests.environment import Ledger, Manifest

_SPARE_MEBIBYTES = 8
"""Beyond the outbox itself: a pod that goes over the limit of its volume is evicted."""


def environment(ledger: Ledger | None) -> list[Manifest]:
    """Returns the relay's settings."""
    if ledger is None:
        return []
    return [
        {"name": endpoints.ENV_LEDGER_URL, "value": ledger.url},
        {
            "name": endpoints.ENV_LEDGER_TOKEN_FILE,
            "value": f"{endpoints.LEDGER_TOKEN_MOUNT}/{names.LEDGER_TOKEN_ENTRY}",
        },
        {"name": endpoints.ENV_OUTBOX_DIRECTORY, "value": endpoints.OUTBOX_MOUNT},
        {"name": endpoints.ENV_OUTBOX_MEBIBYTES, "value": str(ledger.outbox_mebibytes)},
        {"name": endpoints.ENV_TOOL_CALL_MEBIBYTES, "value": str(ledger.tool_call_mebibytes)},
        {"name": endpoints.ENV_OUTBOX_WHEN_FULL, "value": ledger.outbox_when_full},
        {"name": endpoints.ENV_OUTBOX_DRAIN_SECONDS, "value": str(ledger.outbox_drain_seconds)},
    ]


def grace_seconds(ledger: Ledger | None) -> int:
    """Returns what a pod that ends may take beyond its calls, to deliver what the ledger does not have yet."""
    return 0 if ledger is None else ledger.outbox_drain_seconds


def mounts(ledger: Ledger | None) -> list[Manifest]:
    """Returns where the container finds them."""
    if ledger is None:
        return []
    return [
        {"name": "ledger", "mountPath": endpoints.LEDGER_TOKEN_MOUNT, "readOnly": True},
        {"name": "outbox", "mountPath": endpoints.OUTBOX_MOUNT},
    ]


def volumes(ledger: Ledger | None) -> list[Manifest]:
    """Returns the volumes: the token, and the outbox, which outlives the container and goes with the pod."""
    if ledger is None:
        return []
    held = ledger.outbox_mebibytes + ledger.tool_call_mebibytes
    limit = f"{held + _SPARE_MEBIBYTES}Mi"
    return [
        {"name": "ledger", "secret": {"secretName": names.LEDGER_SECRET, "optional": True}},
        {"name": "outbox", "emptyDir": {"sizeLimit": limit}},
    ]


def ports() -> list[Manifest]:
    """Returns the ports of the ledger that relays may reach."""
    return [{"protocol": "TCP", "port": INGEST_PORT}]
