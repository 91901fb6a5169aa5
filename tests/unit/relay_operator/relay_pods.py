"""Relay pods that stand in at the operator's adapter: they accept documents by the relay's own rules."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.unit.relay_operator.in_memory_api_server import InMemoryApiServer
from tests.unit.relay_operator.injected_failures import DOCUMENT, InjectedFailures

from relay.process.document_acceptance import NOBODY, Acceptance, Accepted, Leader
from relay_contract import certificate, document, endpoints
from relay_contract.certificate import Certificate, CertificateUnusable
from relay_contract.preflight import Preflight, PreflightReason, Preflights
from relay_contract.provider_probe import ProviderProbe
from relay_contract.quota_use import QuotaLevel
from relay_contract.seal import DocumentRejected, unseal
from relay_operator import names
from relay_operator.cluster.leadership.fence import Fence, Unfenced, bound
from relay_operator.cluster.relays import (
    Asked,
    OpenBreakers,
    Pod,
    PushAnswer,
    ToldPreflights,
    ToldQuotaUse,
)
from relay_operator.errors import DocumentRefused, Unavailable

_KEEPS_A_NEWER_ONE = frozenset({"stale_epoch", "stale_generation", "conflicting_generation"})


@dataclass(slots=True)
class RelayPods:
    """Every relay pod of the cluster, with the document in force in each.

    silent are the names of pods that do not answer, seconds how long others take; refused are providers whose key no
    pod mounts. served and mounts are each pod's certificate, and what it mounts for it; informed_from is when kubelets
    hear of changes. claimed is an envelope that every pod says it keeps instead of what is pushed.
    failed_probes are the open breakers of each pod, by its name. preflights are what pods tell of a route's preflight in
    place of its passing at once, by the pod's name and the route's. failing are the providers whose probes fail in every
    pod, with the contract's reason and a message. claims are what pods say of preflights whatever is true; unpushed are
    pods that take no documents; older are pods of a version that does not know preflights; asked counts the questions for preflights.
    probed are the pods that were to ask a provider for its models, probes what they find, by provider; otherwise that it answers.
    probe_seconds is how long that takes. levels are how much pods use of Providers' quotas, asked_for_use counts the questions.
    asked_for_streams are the pods that were to ask a model for a stream; what they find is in probes too, by provider and " streams".
    meanwhile is called at each push, for what happens while the operator waits for the answer.
    """

    server: InMemoryApiServer
    public_key: Ed25519PublicKey
    in_force: dict[str, Accepted] = field(default_factory=dict)
    leaders: dict[str, Leader] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    claimed: str | None = None
    served: dict[str, Certificate] = field(default_factory=dict)
    mounts: dict[str, tuple[str, dict[str, bytes]]] = field(default_factory=dict)
    informed_from: float = 0.0
    failed_probes: dict[str, dict[tuple[str, str], int]] = field(default_factory=dict)
    breakers_changed: asyncio.Event = field(default_factory=asyncio.Event)
    preflights: dict[tuple[str, str], Preflight] = field(default_factory=dict)
    failing: dict[str, tuple[PreflightReason, str]] = field(default_factory=dict)
    claims: dict[str, tuple[Preflight, ...]] = field(default_factory=dict)
    unpushed: set[str] = field(default_factory=set)
    older: set[str] = field(default_factory=set)
    asked: int = 0
    probed: list[tuple[str, str]] = field(default_factory=list)
    probes: dict[str, ProviderProbe] = field(default_factory=dict)
    probe_seconds: float = 0.0
    preflights_changed: asyncio.Event = field(default_factory=asyncio.Event)
    levels: dict[str, dict[str, QuotaLevel]] = field(default_factory=dict)
    levels_changed: asyncio.Event = field(default_factory=asyncio.Event)
    asked_for_use: int = 0
    asked_for_streams: list[tuple[str, str]] = field(default_factory=list)
    pushes: int = 0
    pushed_bytes: int = 0
    at_once: int = 0
    most_at_once: int = 0
    meanwhile: Callable[[], None] = lambda: None

    def take(self, pod: Pod, sealed: str, leader: str) -> PushAnswer:
        """Answers a push as the admin port does; Unavailable where the port would not acknowledge."""
        self.meanwhile()
        is_gone = self.server.get("Deployment", names.RELAY, namespace=pod.namespace) is None
        if is_gone or pod.name in self.silent | self.unpushed:
            raise Unavailable(f"pod {pod.namespace}/{pod.name} did not take the document")
        if self.claimed is not None:
            claim = document.Acknowledgement(digest="", generation=2**50, workers=1)
            return PushAnswer(acknowledgement=claim, kept=self.claimed.encode())
        kept = b""
        acceptance = Acceptance((self.public_key,), self._tenant_uid(pod.namespace))
        try:
            self._check_version(pod, sealed)
            accepted = self._judged(acceptance, pod, sealed, leader)
        except DocumentRejected as error:
            if error.code == "invalid_document":
                raise DocumentRefused(f"pod {pod.namespace}/{pod.name} refused: {error}") from error
            if error.code not in _KEEPS_A_NEWER_ONE:
                raise Unavailable(f"pod {pod.namespace}/{pod.name} refused: {error}") from error
            kept = self.in_force[pod.uid].envelope
        else:
            self.in_force[pod.uid] = accepted
            self._wake_who_waits_for_preflights()
            self._wake_who_waits_for_levels()
        return PushAnswer(
            acknowledgement=self._acknowledgement(pod),
            kept=kept,
            leader=self.leaders.get(pod.uid, NOBODY).shown if kept else "",
        )

    def _judged(self, acceptance: Acceptance, pod: Pod, sealed: str, shown: str) -> Accepted:
        if pod.name in self.older:
            return acceptance.judge(sealed.encode(), self.in_force.get(pod.uid))
        leader, latest = acceptance.leader(shown), self.leaders.get(pod.uid, NOBODY)
        latest = max(leader, latest, key=lambda one: one.epoch)
        self.leaders[pod.uid] = latest
        accepted = acceptance.judge(
            sealed.encode(), self.in_force.get(pod.uid), brought_by=leader, latest=latest
        )
        if accepted.document.epoch > latest.epoch:
            self.leaders[pod.uid] = Leader(accepted.document.epoch)
        return accepted

    def _check_version(self, pod: Pod, sealed: str) -> None:
        offered, _ = unseal(sealed, [self.public_key])
        is_news = any(route.preflight for route in offered.tenant.routes) or any(
            key.next_sha256 or key.previous_sha256 for key in offered.tenant.keys
        )
        grants = offered.tenant.tools.grants if offered.tenant.tools else ()
        is_news = is_news or any(grant.resource_definitions is not None for grant in grants)
        spending = offered.tenant.spending
        is_news = is_news or (spending is not None and any(rate.tier for rate in spending.rates))
        is_news = is_news or any(one.drain is not None for one in offered.catalogue.providers)
        if pod.name in self.older and (is_news or offered.epoch):
            raise DocumentRejected("invalid_document", "extra inputs are not permitted")

    def open_breakers(self, pod_name: str, failed_probes: dict[tuple[str, str], int]) -> None:
        """Opens breakers in a pod; failed_probes are by route and fingerprint."""
        self.failed_probes[pod_name] = failed_probes
        self.breakers_changed.set()
        self.breakers_changed = asyncio.Event()

    def breakers(self, pod: Pod) -> OpenBreakers:
        """Answers the question for open breakers as the admin port does."""
        if pod.name in self.silent:
            raise Unavailable(f"pod {pod.namespace}/{pod.name} did not tell of its breakers")
        found = self.failed_probes.get(pod.name, {})
        return OpenBreakers(tag=f"{hash(frozenset(found.items())):x}", failed_probes=found)

    def use(self, pod_name: str, **levels: QuotaLevel) -> None:
        """Lets a pod use this much of Providers' quotas from now on; of those that are not named a usual part."""
        self.levels[pod_name] = levels
        self._wake_who_waits_for_levels()

    def quota_use(self, pod: Pod) -> ToldQuotaUse:
        """Answers the question for the use of quotas as the admin port does."""
        if pod.name in self.silent:
            raise Unavailable(f"pod {pod.namespace}/{pod.name} did not tell of its quota use")
        runs, own = self.documents.get(pod.uid), self.levels.get(pod.name, {})
        levels = {
            one.name: own.get(one.name, "Usual")
            for one in (runs.catalogue.providers if runs else ())
            if one.limits != document.ProviderLimits()
        }
        tag = hashlib.sha256(repr(sorted(levels.items())).encode()).hexdigest()[:16]
        return ToldQuotaUse(tag=tag, levels=levels)

    def tell_preflight(self, pod_name: str, told: Preflight) -> None:
        """Lets a pod tell this of a preflight, for as long as its document asks for one of this token."""
        self.preflights[pod_name, told.route] = told
        self._wake_who_waits_for_preflights()

    def forget_preflight(self, pod_name: str, route: str) -> None:
        """Lets a pod pass a route's preflight again."""
        self.preflights.pop((pod_name, route), None)
        self._wake_who_waits_for_preflights()

    def told_preflights(self, pod: Pod) -> Preflights:
        """Answers the question for preflights as the admin port does: all have passed of which nothing else is told."""
        if pod.name in self.silent:
            raise Unavailable(f"pod {pod.namespace}/{pod.name} did not tell of its preflights")
        if pod.name in self.claims:
            claimed = self.claims[pod.name]
            tag = hashlib.sha256(repr(claimed).encode()).hexdigest()[:16]
            return Preflights(tag=tag, preflights=claimed)
        accepted = self.in_force.get(pod.uid)
        told: list[Preflight] = []
        for route in accepted.document.tenant.routes if accepted else ():
            if route.preflight is None:
                continue
            other = self.preflights.get((pod.name, route.name))
            own = self._probed(route, route.preflight)
            told.append(other if other and other.token == route.preflight else own)
        text = repr(told).encode()
        return Preflights(tag=hashlib.sha256(text).hexdigest()[:16], preflights=tuple(told))

    def _probed(self, route: document.Route, token: str) -> Preflight:
        provider = route.canary.provider if route.canary else ""
        if provider not in self.failing:
            return Preflight(route=route.name, token=token, state="Passed")
        reason, message = self.failing[provider]
        return Preflight(
            route=route.name, token=token, state="Failed", reason=reason, message=message
        )

    def claim(self, pod_name: str, claimed: Preflight) -> None:
        """Lets a pod say this of a preflight, whatever it was asked for."""
        self.claims[pod_name] = (claimed,)
        self._wake_who_waits_for_preflights()

    def fail_probes(self, provider: str, reason: PreflightReason, message: str) -> None:
        """Lets every probe of a provider fail from now on."""
        self.failing[provider] = (reason, message)
        self._wake_who_waits_for_preflights()

    def mend(self, provider: str) -> None:
        """Lets the probes of a provider pass again."""
        self.failing.pop(provider, None)
        self._wake_who_waits_for_preflights()

    def _wake_who_waits_for_levels(self) -> None:
        self.levels_changed.set()
        self.levels_changed = asyncio.Event()

    def _wake_who_waits_for_preflights(self) -> None:
        self.preflights_changed.set()
        self.preflights_changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def being_pushed_to(self) -> AsyncIterator[None]:
        """Counts a push, and those that are under way at the same time."""
        self.pushes += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            self.at_once -= 1

    @property
    def documents(self) -> dict[str, document.Document]:
        """The document in force in each pod, by the pod's UID."""
        return {uid: accepted.document for uid, accepted in self.in_force.items()}

    def weight(self, pod_name: str, route: str, *, namespace: str) -> int | None:
        """Returns the canary's weight that a pod serves; None when it does not know the route."""
        pod = self.server.stored("Pod", pod_name, namespace=namespace)
        accepted = self.in_force.get(pod["metadata"]["uid"])
        routes = accepted.document.tenant.routes if accepted else ()
        return next((one.canary_percent for one in routes if one.name == route), None)

    def _acknowledgement(self, pod: Pod) -> document.Acknowledgement:
        accepted = self.in_force[pod.uid]
        mounted = self._mounted(pod.namespace)
        return document.Acknowledgement(
            digest=accepted.digest,
            generation=accepted.generation,
            workers=1,
            missing_keys=tuple(
                provider.name
                for provider in accepted.document.catalogue.providers
                if provider.auth.key_file and provider.name not in mounted
            ),
            tls=self._tls(pod),
        )

    def _tls(self, pod: Pod) -> document.ServedCertificate | None:
        """Tells what the pod serves its callers with, by the relay's own rule; the last good one stays."""
        if not self.in_force[pod.uid].document.tenant.client_tls:
            return None
        entries = self._mounted_certificate(pod)
        problem, last = "", self.served.get(pod.uid)
        try:
            facts = certificate.check(
                entries.get("tls.crt"), entries.get("tls.key"), now=self.server.clock()
            )
            last = self.served[pod.uid] = facts
        except CertificateUnusable as error:
            problem = str(error)
        if last is None:
            return document.ServedCertificate(problem=problem)
        return document.ServedCertificate(
            digest=last.digest, not_after=last.not_after, problem=problem
        )

    def _mounted_certificate(self, pod: Pod) -> dict[str, bytes]:
        """Returns what the pod mounts: what was there at its start, or when its kubelet was last made to look."""
        metadata = self.server.stored("Pod", pod.name, namespace=pod.namespace)["metadata"]
        mark = metadata.get("annotations", {}).get(names.ANNOTATION_NUDGE, "")
        seen, entries = self.mounts.get(pod.uid, ("?", {}))
        if seen != mark:
            if self.server.clock() >= self.informed_from:
                entries = self._certificate_secret(pod.namespace)
            self.mounts[pod.uid] = (mark, entries)
        return self.mounts[pod.uid][1]

    def _certificate_secret(self, namespace: str) -> dict[str, bytes]:
        deployment = self.server.stored("Deployment", names.RELAY, namespace=namespace)
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        named = [one["secret"]["secretName"] for one in volumes if one["name"] == "tls"]
        secret = self.server.get("Secret", named[0], namespace=namespace) if named else None
        data = (secret or {}).get("data", {})
        return {name: base64.b64decode(value) for name, value in data.items()}

    def _tenant_uid(self, namespace: str) -> str:
        """Returns the UID that the Deployment gives to its pods."""
        deployment = self.server.stored("Deployment", names.RELAY, namespace=namespace)
        containers = deployment["spec"]["template"]["spec"]["containers"]
        [container] = [one for one in containers if one["name"] == names.RELAY]
        environment = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        return str(environment[endpoints.ENV_TENANT_UID])

    def _mounted(self, namespace: str) -> set[str]:
        secret = self.server.get("Secret", names.UPSTREAM_SECRET, namespace=namespace) or {}
        return set(secret.get("data", {})) - self.refused


@dataclass(frozen=True, slots=True)
class Pushes:
    """One operator's way to the relay pods. A push counts as a write: the operator can die after it."""

    pods: RelayPods
    failures: InjectedFailures
    fence: Fence = field(default_factory=Unfenced)
    brake: Fence = field(default_factory=Unfenced)

    async def breakers(self, pod: Pod, *, seen: str, wait_seconds: int) -> OpenBreakers:
        told = self.pods.breakers(pod)
        if told.tag == seen:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.pods.breakers_changed.wait(), wait_seconds)
        return self.pods.breakers(pod)

    async def preflights(
        self, pod: Pod, *, seen: str, wait_seconds: int, asked: Asked
    ) -> ToldPreflights:
        self.pods.asked += 1
        told = self.pods.told_preflights(pod)
        if told.tag == seen:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.pods.preflights_changed.wait(), wait_seconds)
        told = self.pods.told_preflights(pod)
        mine = tuple(one for one in told.preflights if (one.route, one.token) in asked())
        is_all = len(mine) == len(told.preflights)
        return ToldPreflights(tag=told.tag if is_all else "", preflights=mine)

    async def probe_provider(self, pod: Pod, provider: str, *, stream: str = "") -> ProviderProbe:
        if stream:
            self.pods.asked_for_streams.append((pod.name, stream))
            streams = ProviderProbe(provider=provider, outcome="Answered", streamed=True)
            return self.pods.probes.get(f"{provider} streams", streams)
        self.pods.probed.append((pod.name, provider))
        answered = ProviderProbe(provider=provider, outcome="Answered")
        found = self.pods.probes.get(provider, answered)
        await asyncio.sleep(self.pods.probe_seconds)
        return found

    async def quota_use(self, pod: Pod, *, seen: str, wait_seconds: int) -> ToldQuotaUse:
        self.pods.asked_for_use += 1
        told = self.pods.quota_use(pod)
        if told.tag == seen:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.pods.levels_changed.wait(), wait_seconds)
        return self.pods.quota_use(pod)

    async def push(
        self, pod: Pod, sealed: str, *, leader: str = "", lowers: bool = False
    ) -> PushAnswer:
        bound(self.brake if lowers else self.fence, 1.0, what="push")
        self.pods.pushed_bytes += len(sealed)
        async with self.pods.being_pushed_to():
            await asyncio.sleep(self.pods.seconds.get(pod.name, 0))
        self.failures.before_write("PUT", DOCUMENT)
        answer = self.pods.take(pod, sealed, leader)
        self.failures.after_write()
        return answer
