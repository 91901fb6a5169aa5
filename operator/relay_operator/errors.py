"""The errors of the control plane that callers treat differently."""

from relay_operator.names import Reason


class OperatorError(Exception):
    """Root of the family; the message names what was attempted, on which object, and what a reader can do.

    is_reported tells whether writing it into the status of the object concerned was tried already.
    """

    is_reported = False


class InvalidSpec(OperatorError):
    """A custom resource cannot be used as it is; nothing but a new spec helps. reason is what its conditions have."""

    def __init__(self, message: str, *, reason: Reason = Reason.INVALID_SPEC) -> None:
        super().__init__(message)
        self.reason = reason


class ApiServerRefused(OperatorError):
    """The API server refused a request for good (4xx other than conflict and throttling)."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class Conflict(OperatorError):
    """Somebody else wrote first; read again and retry."""


class Overtaken(Conflict):
    """Another operator has written a status since the one that was decided from."""


class Unavailable(OperatorError):
    """The other side cannot be reached, is overloaded or slow; retry later."""


class NotLeading(Unavailable):
    """This operator may not act: another one may be the leader. Nothing was sent."""


class DocumentRefused(Unavailable):
    """A relay pod cannot use the document that it was sent; one of an earlier version does not know all of it."""


class LedgerUnavailable(OperatorError):
    """The ledger did not answer, or not as a ledger does; what it had before stays in force."""


class MetricsUnavailable(OperatorError):
    """Prometheus gave no usable answer; never a reason to move traffic."""


class SigningKeyUnusable(OperatorError):
    """The operator cannot start: what it signs documents with is damaged, and only a person can decide to give it up."""


class NoCredentials(OperatorError):
    """Neither a pod's ServiceAccount nor a kubeconfig tells of an API server."""


class SettingsUnusable(OperatorError):
    """The operator cannot start: its environment holds what cannot be used; one line for each variable."""


class ShardsUnusable(OperatorError):
    """The list of shards cannot be used, or this operator is none of them."""


class TiersUnusable(OperatorError):
    """The operator cannot start: the platform's tiers hold what cannot be used."""


class ToolServerUnusable(OperatorError):
    """A tool server did not give its lists; reason is what its conditions have."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason
