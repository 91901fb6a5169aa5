"""kopf's login: the ServiceAccount in a pod, else the kubeconfig; the same in tests and production."""

from typing import Any

import kopf


def register(registry: kopf.OperatorRegistry) -> None:
    """Adds the handler; without one kopf would try every client library it finds, in random order."""
    kopf.on.login(registry=registry, id="login")(login)


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Returns the credentials, None when there are none."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
