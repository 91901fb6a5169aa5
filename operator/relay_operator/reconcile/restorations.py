"""Words for what somebody did to a tenant's objects, as Events of the Tenant tell it."""

from collections.abc import Container, Iterable, Iterator

from relay_operator import names
from relay_operator.cluster.owned_objects import Restoration
from relay_operator.decisions.route_status import Move
from relay_operator.names import Reason


def moves(
    restored: Iterable[Restoration],
    *,
    was_provisioned: bool,
    never_made: Container[str] = (),
    now: float,
) -> Iterator[Move]:
    """Returns one Event for each object that was not as it should be.

    What an operator that has just started misses was deleted only if the Tenant had everything before; never_made are kinds
    that it had not. A deleted namespace takes everything in it along, and is told alone.
    """
    restored = list(restored)
    home_was_missing = any(one.was_missing and one.key[0] == "Namespace" for one in restored)
    for one in restored:
        is_made = one.is_new and (not was_provisioned or one.key[0] in never_made)
        went_along = home_was_missing and one.key[0] != "Namespace"
        if not (one.was_missing and (is_made or went_along)):
            yield Move(at=now, reason=Reason.RESTORED, message=_message(one), canary_percent=0)


def _message(one: Restoration) -> str:
    kind, namespace, name = one.key
    label = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    managers = ", ".join(sorted(one.managers))
    made_by = f"; in its place was one of field manager {managers}" if managers else ""
    if one.was_missing:
        keys = " with new keys, which callers need" if name == names.API_KEYS_SECRET else ""
        return f"{label} had been deleted and was created again{keys}{made_by}"
    who = f"field manager {managers}" if managers else "somebody whom its managedFields do not name"
    how = (
        "in a way that can only be undone by another object, and was replaced"
        if one.was_replaced
        else "and was restored"
    )
    return f"{label} had been changed by {who} {how}; it follows spec of the Tenant"
