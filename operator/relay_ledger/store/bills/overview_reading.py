"""Reads what a page of usage is made of, all of it as one moment has it."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from relay_ledger.booking.posting import Figures
from relay_ledger.reports.figures import Group, added
from relay_ledger.store.databases import reading
from relay_ledger.store.named_tenants import names_in
from relay_ledger.store.usage_reading import sums_in


@dataclass(frozen=True, slots=True)
class Overview:
    """Figures of each part of a time, of groups, and of tenants by UID, with the names that those have."""

    parts: list[Figures]
    groups: list[Group]
    tenants: dict[str, Figures]
    names: dict[str, str]


def read_overview(
    engine: Engine,
    parts: Sequence[tuple[int, int]],
    *,
    by: Sequence[str],
    tenant_uid: str | None = None,
) -> Overview:
    """Returns it for parts of a time that follow each other without a gap, at quarters of an hour."""
    start, end = parts[0][0], parts[-1][1]
    begins = [first for first, _ in parts]
    found: list[list[Figures]] = [[] for _ in parts]
    with reading(engine) as connection:

        def sums(*dimensions: str) -> list[tuple[tuple[str, ...], dict[str, int]]]:
            return sums_in(connection, start=start, end=end, by=dimensions, tenant_uid=tenant_uid)

        for (quarter,), figures in sums("quarter"):
            found[bisect.bisect_right(begins, int(quarter)) - 1].append(figures)
        groups = [Group(dict(zip(by, names, strict=True)), figures) for names, figures in sums(*by)]
        tenants: dict[str, Figures] = {uid: figures for (uid,), figures in sums("tenant_uid")}
        names = names_in(connection)
    return Overview([added(some) for some in found], groups, tenants, names)
