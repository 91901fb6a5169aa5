"""Finds what calls of tools cost the tenant."""

from typing import Final, final

from relay_contract.spending import ToolRate
from relay_contract.tools.patterns import STAR, covers


@final
class ToolRateCard:
    """The rates of a document, the most specific first: of a server before of every one, a name before patterns, longer before shorter."""

    __slots__ = ("_rates",)

    def __init__(self, rates: tuple[ToolRate, ...]) -> None:
        self._rates: Final = sorted(rates, key=_place)

    def is_free(self, server: str) -> bool:
        """Tells whether calls at the server cost nothing: no rate tells of it, nor of every server."""
        return not any(rate.server in (None, server) for rate in self._rates)

    def rate(self, server: str, tool: str, at: int) -> ToolRate | None:
        """Returns the rate of a call that is sent at that time, microseconds since 1970; None without one. tool is the server's name of it."""
        for rate in self._rates:
            if rate.server not in (None, server) or not covers(rate.name, tool):
                continue
            if rate.starts_at <= at and (rate.ends_at is None or at < rate.ends_at):
                return rate
        return None


def _place(rate: ToolRate) -> tuple[bool, bool, int]:
    return rate.server is None, rate.name.endswith(STAR), -len(rate.name)
