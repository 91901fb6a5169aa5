"""Everything a call has reserved: rate limit, provider quota, queue seat."""

from relay.admission.ask import Ask
from relay.admission.priority_lanes import Ticket
from relay.admission.provider_quota_line import ProviderQuotaLine
from relay.admission.token_buckets import Hold


class Reservation:
    """Everything that one call holds from its admission to its end; only this package writes its fields.

    provider_hold is on the quota of `provider` until an attempt takes it over. line is where the call waits, or waited,
    for that quota. queue_seconds is the time it waited for the quota and for its seat.
    """

    __slots__ = (
        "ask",
        "hold",
        "line",
        "line_ticket",
        "provider",
        "provider_hold",
        "queue_seconds",
        "ticket",
    )

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.queue_seconds = 0.0
        self.hold: Hold | None = None
        self.provider = ask.provider
        self.provider_hold: Hold | None = None
        self.ticket: Ticket | None = None
        self.line: ProviderQuotaLine | None = None
        self.line_ticket: Ticket | None = None

    def take_provider_hold(self, provider: str) -> Hold | None:
        """Hands the hold on this provider's quota over to an attempt, which settles it; None if there is none."""
        if self.provider_hold is None or self.provider != provider:
            return None
        hold, self.provider_hold = self.provider_hold, None
        return hold

    def keep_provider_hold(self, provider: str, hold: Hold | None, now: float) -> None:
        """Keeps a hold for the next attempt; one that no attempt took over is given back."""
        if self.provider_hold is not None:
            self.provider_hold.settle(0, now=now)
        self.provider, self.provider_hold = provider, hold

    def progress(self, tokens: int, now: float) -> None:
        """Charges the tokens used so far to the tenant's limits: what is charged refills, what is held does not."""
        if self.hold is not None:
            self.hold.progress(tokens, now=now)

    def settle(self, tokens: int, now: float) -> None:
        """Charges the tenant's limits what was used and gives back a hold that no attempt took over."""
        if self.hold is not None:
            self.hold.settle(tokens, now=now)
        if self.provider_hold is not None:
            self.provider_hold.settle(0, now=now)
