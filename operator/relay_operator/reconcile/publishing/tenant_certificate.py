"""The certificate of a tenant that asks for TLS with its callers.

It is in a Secret of the tenant's namespace that somebody else keeps. The relay pods mount it, and serve what is good of it;
the operator reads it to tell why it cannot be served, and to have it mounted at once.
"""

from relay_operator.api.tenant import Tenant
from relay_operator.cluster import certificate_secrets
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.relays import Pod
from relay_operator.decisions.relay_pods.certificate import ClientTls
from relay_operator.reconcile.publishing import mounts
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.watched_state import WatchedState

_REFRESH_SECONDS = 5
"""A kubelet that looks before it has heard of the Secret's change sees the old one: it is asked again after this."""


class TenantCertificate:
    def __init__(self, *, api: ApiServer, watched_state: WatchedState) -> None:
        self._api = api
        self._watched_state = watched_state

    async def read(self, spec: Tenant, publication: Publication, now: float) -> None:
        """Reads the Secret; pods that do not serve what it holds are asked for what they serve.

        While it holds nothing that can be served they are asked once.
        """
        found = await certificate_secrets.read(self._api, spec, now=now)
        if found != publication.certificate:
            publication.certificate = found
            publication.told_since.clear()

    async def bring(self, publication: Publication, now: float) -> None:
        """Has the Secret mounted anew in the pods that said that they serve another certificate, or none."""
        found = publication.certificate
        if found is None or not found.digest:
            return
        lagging = [
            pod
            for pod in self._pods(publication)
            if (served := publication.served_certificate(pod)) is not None
            and served.digest != found.digest
        ]
        mark = f"{found.digest[:12]}.{int(now) // _REFRESH_SECONDS}"
        await mounts.refresh(self._api, lagging, mark)

    def found(self, publication: Publication | None, now: float) -> ClientTls | None:
        """Returns what is known of Secret and pods; None without TLS, and before the Secret was read."""
        if publication is None or publication.certificate is None:
            return None
        served = map(publication.served_certificate, self._pods(publication))
        return ClientTls(
            secret=publication.certificate,
            served=tuple(one for one in served if one is not None),
            now=now,
        )

    def _pods(self, publication: Publication) -> list[Pod]:
        pods = self._watched_state.relay_pods(publication.base.namespace)
        return [pod for pod in pods if not pod.terminating]
