"""Lines that are kept apart, as a table, CSV or JSON, and one of them as it came."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.text_cells import columns, csv_of, printable

COLUMNS: Final = (
    *("received", "reason", "tenant", "tenant_uid", "relay", "record", "sent"),
    *("detail", "end", "ended", "id"),
)
"""tenant, relay, record and sent are what the line says, where it can be read. end is released or dismissed, nothing while it is open."""


End = Literal["released", "dismissed"]
"""released: its record is booked, by this or before. dismissed: somebody has looked at it, and nothing is to be done."""
Place = tuple[int, str, str, str]
"""Where a line stands among all: when it came, its digest and reason, and whose relay sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLine:
    """A line that is not booked: tenant_uid is that of the token with which it came, whatever it says itself. Times are microseconds since 1970."""

    tenant_uid: str
    digest: str
    reason: str
    received_at: int
    detail: str
    line: str
    end: End | None = None
    ended_at: int | None = None

    @property
    def place(self) -> Place:
        """Says where it stands among all."""
        return self.received_at, self.digest, self.reason, self.tenant_uid

    def fields(self) -> dict[str, str]:
        """Returns all but the line itself, by column."""
        says = self._says()
        values = (
            *(utc_text(self.received_at), self.reason, says.get("tenant", ""), self.tenant_uid),
            *(says.get("relay", ""), says.get("id", "")),
            _sent(says.get("dispatchedAt") or says.get("calledAt") or ""),
            *(self.detail, self.end or ""),
            "" if self.ended_at is None else utc_text(self.ended_at),
            self.digest,
        )
        return dict(zip(COLUMNS, values, strict=True))

    def _says(self) -> dict[str, str]:
        """Returns what it says of its tenant, relay, id and time, as far as it can be read; nothing of it is proven."""
        try:
            content = json.loads(self.line)
        except (ValueError, RecursionError):
            return {}
        if not isinstance(content, dict):
            return {}
        names = ("tenant", "relay", "id", "dispatchedAt", "calledAt")
        told = {name: content.get(name) for name in names}
        return {
            name: str(value)[:64] for name, value in told.items() if isinstance(value, str | int)
        }


def _sent(microseconds: str) -> str:
    """Writes a time that a stranger claims; what is none stays as it is."""
    try:
        return utc_text(int(microseconds))
    except (ValueError, OverflowError, OSError):
        return microseconds


def lines_csv(lines: Sequence[KeptLine]) -> str:
    """Returns a row for each line."""
    return csv_of(COLUMNS, (list(one.fields().values()) for one in lines))


def lines_json(lines: Sequence[KeptLine], *, following: str | None) -> str:
    """Returns every line as it came, with what is told of it; next is where those after them begin."""
    told: list[dict[str, Any]] = [{**one.fields(), "line": one.line} for one in lines]
    return json.dumps({"lines": told, "next": following}, ensure_ascii=True, indent=2) + "\n"


def lines_table(lines: Sequence[KeptLine]) -> str:
    """Returns a row of text for each line."""
    return columns(
        [list(COLUMNS), *(list(one.fields().values()) for one in lines)], texts=len(COLUMNS)
    )


def line_page(line: KeptLine) -> str:
    """Returns all of one line, below one another; what does not print is escaped."""
    fields = {**line.fields(), "line": line.line}
    width = max(map(len, fields))
    return "".join(
        f"{name.ljust(width)}  {printable(value) or '-'}\n" for name, value in fields.items()
    )
