"""Keys of providers that are not handed out to a tenant, since it is not, or not yet, isolated."""

from relay_operator import names
from relay_operator.reconcile.isolation.isolation_records import Withholding
from relay_operator.reconcile.upstream_access import Keys


def withhold(keys: Keys, withholding: Withholding | None) -> Keys:
    """Takes everything out that relays would show their providers, if there is a reason to."""
    if withholding is None:
        return keys
    providers = sorted({names.provider_of_entry(entry) for entry in keys.values} - {""})
    return Keys(
        missing=keys.missing,
        withheld=dict.fromkeys(providers, withholding.why),
        until_probed=withholding.until_probed,
        unread=keys.unread,
    )
