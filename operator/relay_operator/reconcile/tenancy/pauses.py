"""Pauses after which a tenant is looked at again, in seconds, where no watch tells of a change."""

from dataclasses import dataclass, field
from typing import Any, Final

LOOK_AGAIN_SECONDS = 1.0
NAMESPACE_SECONDS = 10.0
"""Namespaces of others are not watched: one that stands in the way is looked at again after this."""
_LONGEST_SECONDS: Final = 30.0


@dataclass(slots=True)
class GrowingPauses:
    """Pauses of tenants that are not all as they should be: longer from look to look while nothing changes.

    Pods, Deployments and late acknowledgements are told of, so what is looked for again is only what was missed.
    """

    _last: dict[str, tuple[Any, float]] = field(default_factory=dict)

    def next(self, name: str, standing: object) -> float:
        """Returns the next pause of a tenant. standing is how it stands: another one begins anew."""
        known = self._last.get(name)
        pause = LOOK_AGAIN_SECONDS
        if known is not None and known[0] == standing:
            pause = min(2 * known[1], _LONGEST_SECONDS)
        self._last[name] = standing, pause
        return pause

    def forget(self, name: str) -> None:
        """Drops what is known of a tenant that is as it should be, or is gone."""
        self._last.pop(name, None)
