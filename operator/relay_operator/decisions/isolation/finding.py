"""Judges a tenant's isolation by what its relay pods and the operator could connect to.

A connection that came about proves that policies do not hold it back. A refusal proves something only where the target was
there to be reached: the operator connected to it at the same time, and well within the time that the relay waited.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay_contract.isolation_probe import CONNECT_SECONDS, Outcome, TargetKind
from relay_operator.names import Reason

_SOON_ENOUGH_SECONDS = CONNECT_SECONDS / 2
"""What takes the operator longer may have been late for the relay rather than refused."""
_MOST_PLACES = 3

_NOUNS = {
    TargetKind.DECOY: "the operator's decoy",
    TargetKind.API_SERVER: "the API server",
    TargetKind.NEIGHBOUR: "another tenant's relay",
    TargetKind.NODE: "a node",
    TargetKind.NODE_PORT: "a node port",
    TargetKind.METADATA: "a metadata address",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One target as a relay pod and the operator saw it.

    operator_seconds is the time in which the operator connected to it, None where it did not. permitted tells that the
    tenant's own network policies, or the rules of Kubernetes, let the relay reach it.
    """

    kind: TargetKind
    place: str
    relay: Outcome
    operator_seconds: float | None
    permitted: bool = False

    @property
    def is_exposed(self) -> bool:
        return self.relay is Outcome.CONNECTED and not self.permitted

    @property
    def is_refused(self) -> bool:
        """Tells whether the refusal counts."""
        seconds = self.operator_seconds
        return (
            self.relay is not Outcome.CONNECTED
            and not self.permitted
            and seconds is not None
            and seconds <= _SOON_ENOUGH_SECONDS
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSight:
    """Holds what was found from one relay pod.

    from_outside is how the operator's attempt at its traffic port ended, None where allowFrom lets the operator in. serving
    tells whether that port takes connections at all. problem says why the pod told nothing.
    """

    pod: str
    targets: tuple[Sight, ...] = ()
    from_outside: Outcome | None = None
    serving: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """holds is None where nothing could be judged."""

    holds: bool | None
    reason: Reason
    message: str


NOT_PROBED = Finding(
    holds=None,
    reason=Reason.NOT_PROBED,
    message="network policies are applied; whether the network enforces them is measured from the first relay pod that is ready",
)


def judge(pods: Sequence[PodSight], *, namespace: str) -> Finding:
    """Judges what one round of probes found."""
    if not pods:
        return NOT_PROBED
    exposed = [pod for pod in pods if _exposures(pod)]
    if exposed:
        return _not_enforced(exposed[0], namespace)
    silent = [pod for pod in pods if pod.problem]
    if silent:
        message = f"pod {silent[0].pod} does not tell what it can connect to: {silent[0].problem}"
        return Finding(holds=None, reason=Reason.PROBE_FAILED, message=message)
    unproven = [pod for pod in pods if not _is_proven(pod)]
    if unproven:
        return _unverified(unproven[0])
    return _probed(pods)


def _exposures(pod: PodSight) -> list[str]:
    """Says what is open and should not be, each as the end of a sentence that begins with the pod."""
    reached = [sight for sight in pod.targets if sight.is_exposed]
    places = [f"{_NOUNS[sight.kind]} ({sight.place})" for sight in reached[:_MOST_PLACES]]
    said = [f"reaches {_listed(places)}"] if places else []
    if pod.from_outside is Outcome.CONNECTED:
        said.append("is reached by the operator, whom allowFrom does not let in")
    return said


def _not_enforced(pod: PodSight, namespace: str) -> Finding:
    message = (
        f"pod {pod.pod} {_listed(_exposures(pod))}, which the tenant's network policies forbid; look for NetworkPolicies in "
        f"{namespace} that the operator did not write, and whether the cluster's network plugin enforces policies"
    )
    return Finding(holds=False, reason=Reason.NOT_ENFORCED, message=message)


def _is_proven(pod: PodSight) -> bool:
    return _kinds([pod], refused=True) >= {TargetKind.DECOY} and _inbound_is_proven(pod)


def _inbound_is_proven(pod: PodSight) -> bool:
    return pod.from_outside is None or pod.serving


def _unverified(pod: PodSight) -> Finding:
    if _inbound_is_proven(pod):
        why = (
            "the operator itself did not reach its decoy in time, so that a relay pod is refused there proves nothing; "
            "look at the operator's own network policy and at how fast the network is"
        )
    else:
        why = f"the traffic port of pod {pod.pod} takes no connections yet, so that the operator is refused there proves nothing"
    return Finding(holds=None, reason=Reason.UNVERIFIED, message=why)


def _probed(pods: Sequence[PodSight]) -> Finding:
    refused = _kinds(pods, refused=True)
    open_questions = _kinds(pods, refused=False) - refused
    message = f"relay pods cannot connect to {_listed(_named(refused))}"
    if any(pod.from_outside is not None for pod in pods):
        message += ", nor the operator to their traffic port"
    if open_questions:
        message += f"; the operator cannot connect to {_listed(_named(open_questions), word='or')} itself, so nothing is proven for that"
    return Finding(holds=True, reason=Reason.PROBED, message=message)


def _kinds(pods: Iterable[PodSight], *, refused: bool) -> set[TargetKind]:
    """Collects the kinds of target that the pods must not reach, or those of them whose refusal counts."""
    return {
        sight.kind
        for pod in pods
        for sight in pod.targets
        if not sight.permitted and (sight.is_refused or not refused)
    }


def _named(kinds: set[TargetKind]) -> list[str]:
    return [noun for kind, noun in _NOUNS.items() if kind in kinds]


def _listed(nouns: Sequence[str], *, word: str = "and") -> str:
    if len(nouns) < 2:
        return "".join(nouns)
    return f"{', '.join(nouns[:-1])} {word} {nouns[-1]}"
