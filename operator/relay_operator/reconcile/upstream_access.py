"""Access of a tenant's relay to its providers and tool servers: addresses for its network policy, and keys.

What a route in force uses stays although its Provider, Service or Secret is gone: the relays have it, and only a new
relay pod would notice. Keys stay in the tenant's own Secret. Addresses stay as a signed annotation of the network policy,
so that nobody can open the policy by writing there.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_operator import names
from relay_operator.api.provider import Provider
from relay_operator.cluster import key_secrets, provider_secrets
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.provider_secrets import Problem
from relay_operator.errors import ApiServerRefused, OperatorError, Unavailable
from relay_operator.manifests.environment import Upstream
from relay_operator.names import Reason
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.publishing.signed_notes import SignedNotes
from relay_operator.reconcile.upstreams.replacements import is_held
from relay_operator.reconcile.watched_state import WatchedState

_MOST_SECRET_BYTES = 1000 * 1024
"""A Secret holds 1 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Credentials that relays show the providers, as entries of the tenant's Secret: keys, certificates, proxy credentials.

    missing says of each provider, and of each entry of a tool server, what cannot be handed over; kept are the providers for which the last ones stay
    meanwhile, all of them. withheld says of each provider why nothing is handed over that could be; until_probed tells that
    this ends with the first probe of the tenant's isolation. unread is the first error of those Secrets that could not be
    read: what their providers were last shown stays, so that what is to go from the others does not wait for them.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    withheld: Mapping[str, str] = field(default_factory=dict)
    until_probed: bool = False
    unread: OperatorError | None = None

    def words(self, publication: Publication | None) -> tuple[str, ...]:
        """Says what is missing, and which routes go on with what they had."""
        return tuple(
            f"{problem.message}; {_users(publication, provider)} in force: "
            f"the last {problem.what} stays in use"
            if publication is not None and provider in self.kept
            else problem.message
            for provider, problems in self.missing.items()
            for problem in problems
        )

    def missing_words(self) -> dict[str, str]:
        """Says of each provider what is missing, for the routes that wait for it."""
        missing = {
            provider: "; ".join(problem.message for problem in problems)
            for provider, problems in self.missing.items()
        }
        return missing if self.until_probed else {**self.withheld, **missing}


class UpstreamAccess:
    """Finds addresses and keys of the providers that a tenant uses."""

    def __init__(
        self,
        *,
        api: ApiServer,
        watched_state: WatchedState,
        signing_key: Ed25519PrivateKey,
        operator_namespace: str,
    ) -> None:
        self._api = api
        self._watched_state = watched_state
        self._notes = SignedNotes(signing_key, purpose="upstreams")
        self._operator_namespace = operator_namespace

    async def addresses(
        self, publication: Publication, named: Iterable[str]
    ) -> dict[str, Upstream]:
        """Finds the address of every named provider that has one, or had one while a route in force uses it.

        Keeps them as those that the tenant's network policy is to open the way to.
        """
        last = publication.upstreams
        if last is None:
            last = await self._noted(publication)
        known = self._watched_state.upstreams
        held = {name for name in named if is_held(publication, name, self._watched_state)}
        tenant = publication.tenant.metadata.name
        kept = {
            name: last[name]
            for name in publication.used_providers()
            if name in last and self._watched_state.is_open(name, tenant)
        }
        found = kept | {name: known[name] for name in named if name in known and name not in held}
        publication.upstreams = dict(sorted(found.items()))
        return publication.upstreams

    def find_tool_servers(self, publication: Publication) -> None:
        """Finds the addresses of the tool servers that the tenant is granted, and keeps them as addresses does.

        They do not outlive a server that is gone: a permission ends with what it is for.
        """
        offers = map(self._watched_state.tool_offers.of, publication.tools.servers)
        publication.tool_upstreams = tuple(
            offer.upstream for offer in offers if offer is not None and offer.upstream is not None
        )

    def orphans(self, publication: Publication | None) -> tuple[str, ...]:
        """Says which providers are gone, or others than they were, although routes in force use them."""
        if publication is None:
            return ()
        used = sorted(publication.used_providers())
        replaced = (
            f"Provider {provider} was made again as another upstream; its former address and key stay while "
            f"{_users(publication, provider)} in force"
            for provider in used
            if is_held(publication, provider, self._watched_state)
        )
        gone = (
            f"there is no Provider {provider} any more; its key and network access stay while "
            f"{_users(publication, provider)} in force"
            for provider in used
            if self._watched_state.providers.get(provider) is None
        )
        return *gone, *replaced

    async def keys(self, publication: Publication, providers: Iterable[str], now: float) -> Keys:
        """Collects what relays show the providers, read here where no reconcile of theirs has; what a provider in force was last shown stays while there is no other."""
        values: dict[str, str] = {}
        missing: dict[str, tuple[Problem, ...]] = {}
        unread: dict[str, OperatorError] = {}
        for name, provider in self._shown(publication, providers).items():
            try:
                found = self._watched_state.shown_secrets.of(
                    provider
                ) or await provider_secrets.read(
                    self._api, provider, namespace=self._operator_namespace, now=now
                )
            except (ApiServerRefused, Unavailable) as error:
                unread[name] = error
                continue
            values |= found.entries
            if found.problems:
                missing[name] = found.problems
        lacking = _lacking(publication, values)
        of_tools, without = self._of_tool_servers(publication)
        values |= of_tools
        last = await self._last_keys(publication) if lacking or unread or without else {}
        values |= {file: last[file] for file in without if file in last}
        # not only of routes in force: nothing is known to be wrong with it
        values |= {file: last[file] for file in last if names.provider_of_entry(file) in unread}
        kept = {
            name
            for name, groups in lacking.items()
            if all(file in last for group in groups for file in group)
        }
        # a certificate and its key stay together
        for groups in lacking.values():
            for group in groups:
                if all(file in last for file in group):
                    values |= {file: last[file] for file in group}
        for owner in _without_room(publication, values):
            problem = _no_room(owner, publication.base.namespace)
            missing[owner] = (*missing.get(owner, ()), problem)
            kept.discard(owner)
        first = next(iter(unread.values()), None)
        return Keys(values=values, missing=missing, kept=frozenset(kept), unread=first)

    def _of_tool_servers(self, publication: Publication) -> tuple[dict[str, str], list[str]]:
        """Returns the credentials of the tool servers in force, and the entries for which the last ones stay: there are none now."""
        found: dict[str, str] = {}
        offers = self._watched_state.tool_offers.to(
            publication.tenant.metadata.name, publication.tools.servers
        )
        for offer in offers.values():
            found |= offer.entries if offer is not None else {}
        wanted = [one.key_file for one in publication.tools.use.servers if one.key_file is not None]
        return found, [entry for entry in wanted if entry not in found]

    def _shown(self, publication: Publication, providers: Iterable[str]) -> dict[str, Provider]:
        """Returns those of the providers that are to be shown what their Secrets hold now."""
        usable = self._watched_state.usable_providers()
        return {
            name: usable[name]
            for name in providers
            if name in usable and not is_held(publication, name, self._watched_state)
        }

    async def _last_keys(self, publication: Publication) -> Mapping[str, str]:
        space = publication.base.namespace
        return key_secrets.decode(
            await self._api.get("Secret", names.UPSTREAM_SECRET, namespace=space)
        )

    async def _noted(self, publication: Publication) -> dict[str, Upstream]:
        """Reads the addresses that an earlier life of the operator noted on the network policy."""
        space = publication.base.namespace
        policy = await self._api.get("NetworkPolicy", names.RELAY, namespace=space) or {}
        annotations = policy.get("metadata", {}).get("annotations") or {}
        note = annotations.get(names.ANNOTATION_UPSTREAMS, "")
        return self._unsealed(note, publication.base.uid)

    def note(self, publication: Publication) -> str:
        """Returns the addresses in force as the annotation of the network policy has them, signed for this tenant."""
        upstreams = [asdict(one) for one in (publication.upstreams or {}).values()]
        text = json.dumps(upstreams, sort_keys=True, separators=(",", ":"))
        return self._notes.sign(publication.base.uid, text)

    def _unsealed(self, note: str, uid: str) -> dict[str, Upstream]:
        text = self._notes.read(uid, note)
        return {one["provider"]: _upstream(one) for one in json.loads(text or "[]")}


def _lacking(
    publication: Publication, values: Mapping[str, str]
) -> dict[str, list[tuple[str, ...]]]:
    """Finds the entries that providers in force need and have no value for, by provider and in groups."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for name in publication.used_providers():
        if name in publication.providers:
            for group in publication.providers[name].secret_files:
                if not all(file in values for file in group):
                    found.setdefault(name, []).append(group)
    return found


def _without_room(publication: Publication, values: dict[str, str]) -> list[str]:
    """Takes out what the tenant's Secret cannot hold; returns whose it was: Providers, and entries of tool servers.

    Providers that no route in force uses lose theirs first, then tool servers, then the others.
    """
    used = publication.used_providers()
    owners = {file: names.provider_of_entry(file) or file for file in values}
    without: list[str] = []
    for owner in sorted(
        set(owners.values()),
        key=lambda owner: (owner in used, bool(names.tool_server_of_entry(owner)), owner),
    ):
        if sum(len(value.encode()) for value in values.values()) <= _MOST_SECRET_BYTES:
            break
        for file in [file for file, whose in owners.items() if whose == owner]:
            del values[file]
        without.append(owner)
    return without


def _no_room(owner: str, space: str) -> Problem:
    server = names.tool_server_of_entry(owner)
    whose = f"ToolServer {server}" if server else f"Provider {owner}"
    message = (
        f"Secret {space}/{names.UPSTREAM_SECRET} has no room for what {whose} is to be shown: it holds "
        f"{_MOST_SECRET_BYTES} bytes; use fewer Providers and ToolServers, or shorter certificate chains"
    )
    return Problem(what="key", reason=Reason.SECRET_MISSING, message=message)


def _users(publication: Publication, provider: str) -> str:
    """Says which routes use a provider: the subject of a sentence that ends with "in force"."""
    routes = sorted(
        name
        for name, route in publication.fragments.items()
        if provider in {side.provider for side in (route.stable, route.canary, *route.fallback) if side}
    )  # fmt: skip
    more = f" and {len(routes) - 5} more" if len(routes) > 5 else ""
    listed = ", ".join(routes[:5]) + more
    return (
        f"route {listed} that uses it is"
        if len(routes) == 1
        else f"routes {listed} that use it are"
    )


def _upstream(fields: dict[str, object]) -> Upstream:
    selector, cidrs = fields["pod_selector"], fields["cidrs"]
    assert isinstance(selector, list)
    assert isinstance(cidrs, list)
    return Upstream(
        provider=str(fields["provider"]),
        port=fields["port"] if isinstance(fields["port"], int) else str(fields["port"]),
        namespace=str(fields["namespace"]),
        pod_selector=tuple((str(name), str(value)) for name, value in selector),
        cidrs=tuple(str(cidr) for cidr in cidrs),
    )
