"""How often a tenant may ask: a bucket of questions for each, so that one that asks without end is no burden for the others."""

import math


class Pace:
    """Allows `burst` questions at once and `per_second` in the long run; forgets tenants whose bucket is full."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._spent: dict[str, tuple[float, float]] = {}
        self._swept_at = 0.0

    def wait_for(self, tenant_uid: str, now: float) -> float:
        """Takes a question and returns 0, or returns after how many seconds one may be asked. now is monotonic."""
        self._sweep(now)
        spent, since = self._spent.get(tenant_uid, (0.0, now))
        spent = max(spent - (now - since) * self._per_second, 0.0)
        if spent + 1 > self._burst:
            return (spent + 1 - self._burst) / self._per_second
        self._spent[tenant_uid] = spent + 1, now
        return 0.0

    def _sweep(self, now: float) -> None:
        full_after = math.ceil(self._burst / self._per_second)
        if now - self._swept_at < full_after:
            return
        self._swept_at = now
        self._spent = {
            tenant: (spent, since)
            for tenant, (spent, since) in self._spent.items()
            if spent > (now - since) * self._per_second
        }
