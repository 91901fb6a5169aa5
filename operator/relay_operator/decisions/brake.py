"""What a spec takes away although it is not in force: the weight of a canary, and a tenant's calls.

Read from the spec as somebody wrote it, field by field, so that nothing else in it has to be usable.
"""

from collections.abc import Mapping
from typing import Any

from relay_contract import document

_ALL = 100


def suspends(spec: Any) -> bool:
    """Tells whether a Tenant's spec asks for its calls to be refused."""
    return str(_field(spec, "suspend")).lower() == "true"


def allowed_percent(spec: Any, in_force: document.Route) -> int:
    """Returns the highest weight that a RelayRoute's spec leaves to the canary in force, 0 to 100.

    It is 100 where the spec does not say: a percent that is no number, or a stable side that was the canary so far, as
    after a promotion. A spec without a canary takes the weight away if it keeps the stable side.
    """
    canary, stable = _field(spec, "canary"), _field(spec, "stable")
    if in_force.canary is None or _names(stable, in_force.canary):
        return _ALL
    if canary is None:
        return 0 if _names(stable, in_force.stable) else _ALL
    return _percent(_field(canary, "percent"))


def allows_copies(spec: Any, in_force: document.Route, *, percent_before: int) -> bool:
    """Tells whether a RelayRoute's spec leaves shadow copies to the canary in force; percent_before is what it had asked for.

    A spec that takes the canary away takes the copies too, and so does one that lowers percent to 0: a canary of percent 0
    that is shadowed all the same was so before.
    """
    canary, stable = _field(spec, "canary"), _field(spec, "stable")
    if in_force.canary is None or _names(stable, in_force.canary):
        return True
    if canary is None:
        return not _names(stable, in_force.stable)
    shadow = _field(canary, "shadow")
    is_lowered = _percent(_field(canary, "percent")) == 0 < percent_before
    return shadow is not None and _percent(_field(shadow, "percent")) > 0 and not is_lowered


def freezes(spec: Any) -> bool:
    """Tells whether a RelayRoute's spec wants a canary that breaks a limit to be frozen, and not rolled back."""
    wanted: object = _field(_field(spec, "analysis"), "onBreach")
    return wanted == "Freeze"


def lowers(route: Mapping[str, Any]) -> bool:
    """Tells whether a RelayRoute asks for less weight on its canary than its status says is in force."""
    told = _field(_field(route.get("status"), "weights"), "canaryPercent")
    canary = _field(route.get("spec"), "canary")
    wanted = 0 if canary is None else _percent(_field(canary, "percent"))
    return told is not None and wanted < _percent(told)


def words_in_force(in_force: document.Route) -> str:
    """Describes the canary that the relays go on with, for the status of a route whose spec is not in force."""
    if in_force.canary is None:
        return f"; in force stays the last valid spec, with all calls on {in_force.stable.provider}"
    return (
        f"; in force stays the last valid spec with {in_force.canary_percent} % on canary "
        f"{in_force.canary.provider}: a breach or a lower percent takes weight away, nothing adds any"
    )


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _names(side: Any, in_force: document.Side) -> bool:
    return (_field(side, "provider"), _field(side, "model")) == (in_force.provider, in_force.model)


def _percent(value: Any) -> int:
    try:
        return _ALL if isinstance(value, bool) else min(max(int(float(value)), 0), _ALL)
    except (TypeError, ValueError, OverflowError):
        return _ALL
