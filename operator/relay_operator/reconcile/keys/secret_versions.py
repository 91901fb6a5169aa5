"""The versions of tenants' Secrets that the newest look at each was made with."""


class SecretVersions:
    """What a watch shows of a Secret is news if it is another version; our own writes, and what was read since, are none."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def note(self, namespace: str, secret: str, version: str) -> None:
        """Keeps the version of a Secret that was read or written; empty for one that is not there."""
        self._known.setdefault(namespace, {})[secret] = version

    def was_read(self, namespace: str, secret: str) -> bool:
        """Tells whether a Secret was looked at in this life of the operator."""
        return secret in self._known.get(namespace, {})

    def holders(self, secret: str) -> set[str]:
        """Returns the namespaces in which a Secret of this name was, when it was last looked at."""
        return {space for space, known in self._known.items() if known.get(secret)}

    def is_news(self, namespace: str, secret: str, version: str) -> bool:
        """Tells whether nobody has looked at this version yet."""
        return self._known.get(namespace, {}).get(secret) != version

    def forget(self, namespace: str) -> None:
        """Forgets a tenant that is gone."""
        self._known.pop(namespace, None)
