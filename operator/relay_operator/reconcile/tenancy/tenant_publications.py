"""Publications of tenants: resumed after the operator's start from the documents that are in force."""

from collections.abc import Mapping
from typing import Any

from relay_contract import endpoints
from relay_contract.document import ApiKey
from relay_contract.spending import Spending
from relay_contract.tools.manifest import Manifest
from relay_operator import names
from relay_operator.api.equal_parts import with_equal_parts
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.decisions import namespace_ownership, route_status
from relay_operator.manifests import composition, document_size
from relay_operator.manifests.environment import Manifest as Object
from relay_operator.manifests.ledger.spending import without_ledger
from relay_operator.manifests.tools import tool_use
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.ledger.ledger_news import LedgerNews
from relay_operator.reconcile.publishing import route_room
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.watched_objects import Invalid, Watched
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue


class TenantPublications:
    """Finds the publication of each tenant, and rebases it onto the newest spec and keys."""

    def __init__(
        self,
        *,
        api: ApiServer,
        publisher: DocumentPublisher,
        watched_state: WatchedState,
        queue: WorkQueue,
        ledger_news: LedgerNews | None = None,
    ) -> None:
        self._ledger_news = ledger_news
        self._api = api
        self._publisher = publisher
        self._watched_state = watched_state
        self._queue = queue

    async def of(self, watched: Watched[Tenant]) -> Publication | None:
        """Returns the tenant's publication, after the operator's start from the document that is in force."""
        space = names.tenant_namespace(watched.name)
        publication = self._begun(space, watched.uid)
        if publication is not None:
            return publication
        configmap = await self._configmap(space)
        begun = self._begun(space, watched.uid)
        if begun is not None:
            return begun
        last = self._publisher.valid_specs.read(watched.metadata, configmap)
        publication = self._publisher.resume(last or identity(watched), _document(configmap))
        if publication is not None:
            if last is not None:
                publication.newest_note = self._publisher.valid_specs.note(last)
                publication.settle_spec_note()
            self._queue_routes(publication)
        return publication

    async def rebased(self, spec: Tenant, keys: Mapping[str, ApiKey]) -> Publication:
        """Returns the tenant's publication with the spec and the API keys in it, begun if there was none."""
        space = names.tenant_namespace(spec.metadata.name)
        publication = self._begun(space, spec.metadata.uid) or await self._begin(spec, keys)
        self._rebase(publication, spec, keys)
        return publication

    def _begun(self, space: str, uid: str) -> Publication | None:
        publication = self._publisher.publication(space)
        is_its = publication is not None and publication.tenant.metadata.uid == uid
        return publication if is_its else None

    async def _begin(self, spec: Tenant, keys: Mapping[str, ApiKey]) -> Publication:
        space = names.tenant_namespace(spec.metadata.name)
        stored = _document(await self._configmap(space))
        begun = self._begun(space, spec.metadata.uid)
        if begun is not None:
            # while that was read; pods have been told by it
            return begun
        base = composition.tenant_part(spec, keys, replicas=spec.spec.relay.fewest_pods)
        publication = self._publisher.begin(spec, with_equal_parts(base), stored)
        self._queue_routes(publication)
        return publication

    async def _configmap(self, space: str) -> Object | None:
        return await self._api.get("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=space)

    def _queue_routes(self, publication: Publication) -> None:
        space = publication.base.namespace
        # those in force include routes that were deleted while the operator was away
        for route in {*self._watched_state.routes.names(namespace=space), *publication.fragments}:
            watched = self._watched_state.routes.get(route, namespace=space)
            is_tried = watched is not None and route_status.is_on_trial(watched.status)
            urgency = Urgency.URGENT if is_tried else Urgency.NORMAL
            self._queue.add(Key("RelayRoute", space, route), urgency)

    def _rebase(self, publication: Publication, spec: Tenant, keys: Mapping[str, ApiKey]) -> None:
        space = names.tenant_namespace(spec.metadata.name)
        sharing = sum(pod.ready or pod.terminating for pod in self._watched_state.relay_pods(space))
        before = publication.tenant.spec.network.callers
        publication.callers_went |= not set(before) <= set(spec.spec.network.callers)
        publication.tenant = spec
        publication.newest_note = self._publisher.valid_specs.note(spec)
        if not publication.spec_note:
            publication.settle_spec_note()
        base = composition.tenant_part(
            spec,
            keys,
            replicas=sharing or spec.spec.relay.fewest_pods,
            renewals=publication.base.renewals,
            spending=self._spending(spec, publication),
            tools=self._tools(spec, publication),
        )
        if publication.base != base:
            publication.base = with_equal_parts(base)
        self._publisher.refresh_providers(publication)
        if publication.without_room:
            # a Provider may need less now; this route looks for all of them whether they fit
            self._queue.add(Key("RelayRoute", space, min(publication.without_room)))

    def _tools(self, spec: Tenant, publication: Publication) -> Manifest | None:
        """Keeps what the tenant's grants come to; returns its manifest."""
        wanted, contents = spec.spec.tools, publication.contents
        self._watched_state.tool_offers.note_grants(spec.metadata.name, wanted)
        if wanted is None and publication.tools.use.is_empty:
            return None
        publication.tools = tool_use.granted(
            wanted,
            self._watched_state.offers_to(spec.metadata.name, wanted),
            publication.tools_in_force,
            lambda use: route_room.fits_tools(use, contents),
        )
        contents.note_tools(document_size.size_of_tools(publication.tools.use))
        return publication.tools.use.manifest

    def _spending(self, spec: Tenant, publication: Publication) -> Spending | None:
        """Returns what bounds the tenant's spending; after a start that in force stays until the price lists are known."""
        if self._ledger_news is None:
            return without_ledger(spec.spec.billing)
        known = publication.document
        in_force = known.tenant.spending if known is not None else None
        return self._ledger_news.spending(spec, in_force)


def identity(watched: Watched[Tenant]) -> Tenant:
    """Returns the Tenant as far as no spec is needed; but what becomes of its namespace is as somebody wrote it."""
    tenant = watched.resource
    if isinstance(tenant, Invalid):
        spec: Any = namespace_ownership.policies_as_written(tenant.spec)
    else:
        spec = tenant.spec.model_dump(
            by_alias=True, include={"namespace_policy", "deletion_policy"}
        )
    return Tenant.parse({"metadata": watched.metadata, "spec": spec})


def _document(configmap: Object | None) -> str:
    return str((configmap or {}).get("data", {}).get(endpoints.DOCUMENT_KEY, ""))
