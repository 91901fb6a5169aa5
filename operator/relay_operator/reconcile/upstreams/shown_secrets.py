"""What relays show each Provider, as it was last read from Secrets: read once for all its tenants."""

from dataclasses import dataclass, field

from relay_operator.api.provider import Provider
from relay_operator.cluster.provider_secrets import ProviderSecrets


@dataclass(slots=True)
class ShownSecrets:
    """Readings by Provider, each of one form of it.

    Its reconcile reads anew as soon as one of its Secrets changes, or the time of a certificate is over, and then has all tenants
    looked at that use it.
    """

    _read: dict[str, tuple[Provider, ProviderSecrets]] = field(default_factory=dict)

    def note(self, provider: Provider, found: ProviderSecrets) -> None:
        """Keeps what was read."""
        self._read[provider.metadata.name] = provider, found

    def forget(self, provider: str) -> None:
        """Drops what was read: it may be another by now."""
        self._read.pop(provider, None)

    def of(self, provider: Provider) -> ProviderSecrets | None:
        """Returns what was read for this form of the Provider; None where its Secrets are still to be read."""
        known = self._read.get(provider.metadata.name)
        if known is None or _form(known[0]) != _form(provider):
            return None
        return known[1]


def _form(provider: Provider) -> tuple[str, int]:
    return provider.metadata.uid, provider.metadata.generation
