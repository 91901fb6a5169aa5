"""The certificate of a tenant that asks for TLS: in its Secret, and in the relay pods that serve it."""

from dataclasses import dataclass
from enum import Enum

from relay_contract.document import ServedCertificate
from relay_operator.decisions import timestamps
from relay_operator.names import Reason

_DAY_SECONDS = 24 * 3600
_OVERDUE_PART = 6
_LONGEST_OVERDUE_SECONDS = 14 * _DAY_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretCertificate:
    """What a Secret holds: a certificate that can be served, or the problem that keeps it from being one.

    secret is its namespace and name; digest and the two times, in seconds since the epoch, are those of a certificate
    that can be served. has_expired and comes_later tell of a certificate whose time is over or has not come.
    """

    secret: str
    exists: bool = True
    problem: str = ""
    has_expired: bool = False
    comes_later: bool = False
    digest: str = ""
    not_before: int = 0
    not_after: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """The certificate in the Secret, and what each relay pod that was asked serves, at one time."""

    secret: SecretCertificate
    served: tuple[ServedCertificate, ...]
    now: float

    @property
    def is_settled(self) -> bool:
        """Returns whether every pod serves what the Secret holds."""
        return bool(self.secret.digest) and all(
            one.digest == self.secret.digest for one in self.served
        )


class Next(Enum):
    """Who has to act next."""

    NOBODY = "nobody"
    TIME = "time"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Whether callers are served with the certificate that the tenant names, why not, and who acts next."""

    holds: bool
    reason: Reason
    message: str
    next: Next


def judge(tls: ClientTls) -> Finding:
    """Judges the certificate of a tenant; its message names the Secret and the end of the certificate's time."""
    secret = tls.secret
    if not secret.exists:
        message = (
            f"there is no Secret {secret.secret}; create it with the entries tls.crt and tls.key, as cert-manager does, "
            f"or remove spec.network.tls{_meanwhile(tls)}"
        )
        return _not_served(Reason.CERTIFICATE_MISSING, message, Next.TIME)
    if secret.problem:
        reason = Reason.CERTIFICATE_EXPIRED if secret.has_expired else Reason.CERTIFICATE_INVALID
        message = f"Secret {secret.secret} cannot be served: {secret.problem}{_meanwhile(tls)}"
        return _not_served(reason, message, Next.TIME if secret.comes_later else Next.PERSON)
    return _judge_pods(tls)


def _judge_pods(tls: ClientTls) -> Finding:
    """Judges what the pods serve while the Secret holds a certificate that can be served."""
    secret, serving = tls.secret, _serving(tls)
    until = timestamps.to_text(secret.not_after)
    if not serving or len(serving) < len(tls.served):
        told = next((one.problem for one in tls.served if not one.digest and one.problem), "")
        message = (
            f"{len(serving)} of {len(tls.served)} relay pods serve callers; the others are given the certificate of Secret "
            f"{secret.secret}, valid until {until}, within a minute"
            + (f" ({told})" if told else "")
        )
        return _not_served(Reason.CERTIFICATE_LOADING, message, Next.TIME)
    first_end = min(one.not_after for one in serving)
    if first_end <= tls.now:
        message = (
            f"a relay pod serves a certificate that expired at {timestamps.to_text(first_end)}, although Secret "
            f"{secret.secret} holds one that is valid until {until}; look at that pod's Events"
        )
        return _not_served(Reason.CERTIFICATE_EXPIRED, message, Next.PERSON)
    new = sum(one.digest == secret.digest for one in serving)
    message = f"{new} of {len(serving)} relay pods serve the certificate of Secret {secret.secret}, valid until {until}"
    if new < len(serving):
        message += f"; the others their last one, valid until {timestamps.to_text(first_end)}"
    if first_end - tls.now < _overdue_seconds(secret):
        message += (
            "; its renewal is overdue: replace it, or look at the Certificate that should do so"
        )
        return Finding(
            holds=True, reason=Reason.CERTIFICATE_EXPIRING, message=message, next=Next.NOBODY
        )
    return Finding(holds=True, reason=Reason.CERTIFICATE_SERVED, message=message, next=Next.NOBODY)


def _not_served(reason: Reason, message: str, next_: Next) -> Finding:
    return Finding(holds=False, reason=reason, message=message, next=next_)


def _serving(tls: ClientTls) -> list[ServedCertificate]:
    return [one for one in tls.served if one.digest]


def _meanwhile(tls: ClientTls) -> str:
    """Says what callers get while the Secret holds nothing to serve."""
    serving = _serving(tls)
    if not serving:
        return "; until it holds a valid pair nobody is served, because nothing is sent without TLS"
    first_end = min(one.not_after for one in serving)
    tense = "which expired at" if first_end <= tls.now else "valid until"
    return (
        f"; {len(serving)} of {len(tls.served)} relay pods go on with their last good certificate, {tense} "
        f"{timestamps.to_text(first_end)}; a new pod would have none"
    )


def _overdue_seconds(secret: SecretCertificate) -> float:
    """Returns how long before its end a certificate should have been renewed: cert-manager renews with a third left."""
    return min((secret.not_after - secret.not_before) / _OVERDUE_PART, _LONGEST_OVERDUE_SECONDS)
