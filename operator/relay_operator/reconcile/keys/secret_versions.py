"""The versions of tenants' Secrets that the newest look at each was made with."""

from collections.abc import Callable
from typing import Final

RECENT_SECONDS: Final = 30.0
"""For so long what a look has found need not be read again, unless something shows another version: a new Tenant is reconciled ten
times and more until it is ready.
"""


class SecretVersions:
    """What a watch shows of a Secret is news if it is another version; our own writes, and what was read since, are none."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}
        self._shown: dict[tuple[str, str], int] = {}
        self._gone: set[tuple[str, str]] = set()
        self.is_followed: Callable[[str], bool] = lambda _: False
        """Tells whether a watch shows the Secrets of a name: what it does not show has not changed, however long ago it was read."""

    def note(self, namespace: str, secret: str, version: str) -> None:
        """Keeps the version of a Secret that was read or written; empty for one that is not there."""
        self._known.setdefault(namespace, {})[secret] = version
        shown, key = self._shown.get((namespace, secret), 0), (namespace, secret)
        # one that is not there has no version that could be compared
        is_as_shown = key in self._gone if not version else _number(version) >= shown
        if shown and is_as_shown:
            del self._shown[key]
            self._gone.discard(key)

    def show(self, namespace: str, secret: str, version: str, *, is_gone: bool = False) -> None:
        """Takes in that there is another version than what was read, or with is_gone none: nothing rests on that any more."""
        self._shown[namespace, secret] = max(_number(version), 1)
        (self._gone.add if is_gone else self._gone.discard)((namespace, secret))

    def stands(self, namespace: str, secret: str, version: str, *, age: float) -> bool:
        """Tells whether what this version of a Secret held so many seconds ago need not be read again."""
        is_last = bool(version) and not self.is_news(namespace, secret, version)
        is_young = age < RECENT_SECONDS or self.is_followed(secret)
        return is_last and is_young and (namespace, secret) not in self._shown

    def are_as_read(self, namespace: str) -> bool:
        """Tells whether nothing has shown another version of any Secret in the namespace than what was read."""
        return all(
            (namespace, secret) not in self._shown for secret in self._known.get(namespace, ())
        )

    def version(self, namespace: str, secret: str) -> str:
        """Returns the version of a Secret that was read or written last; empty for none."""
        return self._known.get(namespace, {}).get(secret, "")

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
        for secret in self._known.pop(namespace, {}):
            self._shown.pop((namespace, secret), None)
            self._gone.discard((namespace, secret))


def _number(version: str) -> int:
    # versions of one kind grow (KEP-5504)
    return int(version) if version.isdigit() else 0
