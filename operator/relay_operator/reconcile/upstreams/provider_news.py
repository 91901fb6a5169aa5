"""Notices changes of what the tenants of a Provider follow: its form, what it is shown, and how its quota is divided.

Everything else of a Provider, how it fares and what its status says, concerns no tenant: looking at it anew costs them nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from relay_operator.manifests.environment import Upstream

SHARES_SECONDS: Final = 10.0
"""Between two divisions of one Provider's quota that are told to all its tenants, once a few followed each other. Whoever may
make routes changes the shares as often as they like, and each change would rewrite the document of every other tenant. What it
costs: a tenant that comes has its share at once, while the others go on for this long with those that they had before, and
all of them together may exceed the quota by the share of the one that came.
"""
_AT_ONCE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Holds what relays have of a Provider, but for its quota. spec is uid and generation; shown names what its Secrets hold."""

    spec: tuple[str, Any]
    is_resolved: bool
    upstream: Upstream | None
    shown: str


@dataclass(slots=True)
class _Told:
    form: Form
    division: int
    paid_at: float
    """Holds when the divisions that were told are paid for, one in SHARES_SECONDS."""


@dataclass(slots=True)
class ProviderNews:
    """Keeps what was told of each Provider, in memory: a new life of the operator tells everything once. clock is of the event loop."""

    clock: Callable[[], float]
    _told: dict[str, _Told] = field(default_factory=dict)

    def forget(self, name: str) -> None:
        """Drops what was told of a Provider that is gone."""
        self._told.pop(name, None)

    def is_another_form(self, name: str, form: Form) -> bool:
        """Tells whether tenants were told of another form of the Provider, or of none."""
        told = self._told.get(name)
        return told is None or told.form != form

    def is_another_for_routes(self, name: str, form: Form) -> bool:
        """Tells whether a route that names the Provider may be decided otherwise: by its spec, or since it has an address."""
        told = self._told.get(name)
        if told is None or told.form.spec != form.spec:
            return True
        return (told.form.upstream is None) != (form.upstream is None)

    def pause_seconds(self, name: str, division: int) -> float | None:
        """Returns how long a division of the quota has to wait until it is told; None where it is no news."""
        told = self._told.get(name)
        if told is None:
            return 0.0
        if told.division == division:
            return None
        return max(0.0, told.paid_at - (_AT_ONCE - 1) * SHARES_SECONDS - self.clock())

    def note_told(self, name: str, form: Form, division: int) -> None:
        """Keeps that all tenants of the Provider were queued, which is paid for where the division is another."""
        told = self._told.get(name)
        paid_at = self.clock() if told is None else told.paid_at
        if told is not None and told.division != division:
            paid_at = max(paid_at, self.clock()) + SHARES_SECONDS
        self._told[name] = _Told(form, division, paid_at)
