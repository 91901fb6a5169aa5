"""kopf's login: the ServiceAccount in a pod, else the kubeconfig; the same in tests and production."""

from typing import Any

import kopf

from relay_operator.cluster.metrics.api_traffic import ApiTraffic


class Login:
    """Logs one life of kopf in, with sessions whose requests and watches are counted."""

    def __init__(self, traffic: ApiTraffic) -> None:
        self._traffic = traffic
        self._shown: kopf.ConnectionInfo | None = None

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Adds the handler; without one kopf would try every client library it finds, in random order."""
        kopf.on.login(registry=registry, id="login")(self.log_in)

    async def log_in(self, **kwargs: Any) -> kopf.AiohttpSession | None:
        """Returns a session; None when there are no credentials, or none but those that were refused."""
        found = credentials(**kwargs)
        # kopf asks again when the API server has refused what it was given; it knows a token again, but no session
        if found is None or found == self._shown:
            return None
        self._shown = found
        session = self._traffic.session(
            tls=found.as_ssl_context(),
            headers=found.as_http_headers(),
            proxy=found.proxy_url,
            trust_env=found.trust_env,
        )
        return kopf.AiohttpSession(
            server=found.server,
            default_namespace=found.default_namespace,
            expiration=found.expiration,
            aiohttp_session=session,
        )


def credentials(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Returns the credentials, None when there are none."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
