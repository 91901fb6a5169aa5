"""Postings as rows, and back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Row

from relay_ledger.booking.posting import FIGURES, Amount, Dimensions, Posting
from relay_ledger.store.tables import DIMENSIONS


def row_of(posting: Posting, now: int) -> dict[str, Any]:
    """Returns the posting as a row."""
    return {
        "tenant_uid": posting.tenant_uid,
        "event_id": posting.event_id,
        "sequence": posting.sequence,
        "dispatched_at": posting.dispatched_at,
        "booked_at": now,
        "kind": posting.kind,
        **dict(zip(DIMENSIONS, posting.dimensions.key(), strict=True)),
        "cost_state": posting.cost.state,
        "cost_version": posting.cost.version,
        "cost_detail": posting.cost.detail,
        "charge_state": posting.charge.state,
        "charge_version": posting.charge.version,
        "charge_detail": posting.charge.detail,
        "charge_entry": posting.charge.entry,
        "manifest_revision": posting.manifest_revision,
        **posting.figures,
    }


def posting_from(row: Row[Any]) -> Posting:
    """Returns the posting that a row holds. Its amounts are what it added."""
    fields = row._mapping
    return Posting(
        tenant_uid=fields["tenant_uid"],
        event_id=fields["event_id"],
        dispatched_at=fields["dispatched_at"],
        sequence=fields["sequence"],
        kind=fields["kind"],
        dimensions=Dimensions(**{name: fields[name] for name in DIMENSIONS}),
        cost=_amount(fields, "cost"),
        charge=replace(_amount(fields, "charge"), entry=fields["charge_entry"]),
        figures={name: fields[name] for name in FIGURES},
        manifest_revision=fields["manifest_revision"],
    )


def _amount(fields: Mapping[Any, Any], account: str) -> Amount:
    return Amount(
        state=fields[f"{account}_state"],
        pico=fields[f"{account}_pico"],
        version=fields[f"{account}_version"],
        detail=fields[f"{account}_detail"],
    )
