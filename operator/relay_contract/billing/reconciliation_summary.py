"""A reconciliation in short, as the ledger keeps it and the operator tells it where somebody looks at the provider."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of what was compared, is more than 1 % apart and is still too young to count, and both sides of the whole: money where the
    reports have some, else tokens.

    booked, reported and their difference are texts in the unit, percent is how far they are apart, empty where nothing is reported;
    causes are the largest of the difference, names what is flagged.
    """

    compared: int
    flagged: int
    provisional: int
    unit: str
    booked: str
    reported: str
    difference: str
    percent: str
    causes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Returns it as JSON has it."""
        return asdict(self) | {"causes": list(self.causes), "names": list(self.names)}


def read_summary(told: Mapping[str, Any]) -> Summary:
    """Reads what `told` returns, and leaves out what a newer ledger tells more; raises ValueError, KeyError or TypeError."""
    causes, names = (tuple(map(str, told[name])) for name in ("causes", "names"))
    return Summary(
        compared=int(told["compared"]),
        flagged=int(told["flagged"]),
        provisional=int(told["provisional"]),
        unit=str(told["unit"]),
        booked=str(told["booked"]),
        reported=str(told["reported"]),
        difference=str(told["difference"]),
        percent=str(told["percent"]),
        causes=causes,
        names=names,
    )
