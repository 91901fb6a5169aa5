"""Every name that leaves the control plane: labels, annotations, object names, condition types and reasons."""

from enum import StrEnum

GROUP = "relay-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "relay-operator"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_TENANT = f"{GROUP}/tenant"
LABEL_PROVIDER = f"{GROUP}/provider"
"""On a Secret of the operator's namespace: the Provider that it is for, or several joined by an underscore, which no
Provider's name has. Secrets without it are read for no Provider.
"""
LABEL_TOOL_SERVER = f"{GROUP}/tool-server"
"""The same for ToolServers."""
LABEL_NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Set by the API server itself, so nobody can claim another namespace's name."""

ANNOTATION_TENANT_UID = f"{GROUP}/tenant-uid"
ANNOTATION_TENANT = f"{GROUP}/tenant"
"""On a namespace: the Tenant that may adopt it. One that was adopted keeps it, and is never deleted."""
ANNOTATION_STAMP = f"{GROUP}/stamp"
"""On a namespace that the operator created: its signature, until the Tenant's status names the namespace."""
ANNOTATION_ADOPT = f"{GROUP}/adopt"
"""On a Tenant that had a namespace before: the UID of another namespace that it may adopt."""
ANNOTATION_UPSTREAMS = f"{GROUP}/upstreams"
"""On the relay's network policy: whose addresses it opens the way to, signed by the operator."""
ANNOTATION_SPEC = f"{GROUP}/spec"
"""On the document's ConfigMap: the last spec of its Tenant that could be used, signed by the operator."""
ANNOTATION_TEMPLATE = f"{GROUP}/pod-template"
"""On the relay's Deployment: the pod template that it was given, signed by the operator."""
ANNOTATION_ROLLED_BY = f"{GROUP}/rolled-by"
"""On the relay's Deployment: by whose change its pods were last rolled, the tenant's or the platform's."""
ANNOTATION_NUDGE = f"{GROUP}/refresh"
"""On a relay pod: changing it makes the kubelet refresh the pod's mounts at once."""

ANNOTATION_RELEASED = f"{GROUP}/released"
"""On the Lease: the epoch of the holder that gave it back, and acts no more."""

ANNOTATION_RETRY = f"{GROUP}/retry"
"""On a RelayRoute: tries the rolled-back, or goes on with the frozen, canary whose run it names."""
ANNOTATION_APPROVE = f"{GROUP}/approve"
"""On a RelayRoute: lets the canary pass the step of the run that it names."""
ANNOTATION_ALLOW_JUMP = f"{GROUP}/allow-jump"
"""On a RelayRoute: lets all traffic go at once to the stable side whose fingerprint it names."""
ANNOTATION_APPROVE_DEFINITIONS = f"{GROUP}/approve-definitions"
"""On a ToolServer: approves the definitions that wait, as they were when its status told this value."""

ANNOTATION_ROTATE_KEYS = f"{GROUP}/rotate-keys"
"""On a Tenant: replaces the API keys that it names, and accepts them for the overlap."""
ANNOTATION_REVOKE_KEYS = f"{GROUP}/revoke-keys"
"""On a Tenant: refuses the API keys that it names at once; a current one is replaced."""
ANNOTATION_KEY_STAMPS = f"{GROUP}/key-stamps"
"""On the Secret of a tenant's API keys: since when each is the current one."""

FINALIZER = f"{GROUP}/tenant"
"""On a Tenant: it stays until its API keys are refused, and its namespace is released if that is to stay."""
POD_SECURITY_ENFORCE = "pod-security.kubernetes.io/enforce"
POD_SECURITY_LEVEL = "restricted"

MANAGED_BY = "relay-operator"
MANAGED_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY}"

NAMESPACE_PREFIX = "relay-"
RELAY = "relay"
"""Name of the relay's Deployment, Service, ServiceAccount and container in a tenant's namespace."""
DOCUMENT_CONFIGMAP = "relay-document"
API_KEYS_SECRET = "relay-api-keys"  # noqa: S105 - the name of a Secret, not a secret
KEY_DIGESTS_SECRET = "relay-api-key-digests"  # noqa: S105 - as above
UPSTREAM_SECRET = "relay-upstream"  # noqa: S105 - as above
IMAGE_PULL_SECRET = "relay-image-pull"  # noqa: S105 - as above
LEDGER_SECRET = "relay-ledger"  # noqa: S105 - as above
LEDGER_TOKEN_ENTRY = "token"  # noqa: S105 - as above
DOCKER_CONFIG = ".dockerconfigjson"
"""The one entry of a Secret of type kubernetes.io/dockerconfigjson."""
SIGNING_KEY_SECRET = "relay-operator-signing-key"  # noqa: S105 - as above
SIGNING_KEY_ENTRY = "ed25519"
TENANT_ROLE_BINDING = "relay-operator"
OPERATOR_BINDING = "relay-operator-one-per-cluster"
LEADER_LEASE = "relay-operator-leader"
DEFAULT_DENY = "default-deny"
DEFAULT_API_KEY = "default"

OPERATOR_PORT = 8090
"""Health, metrics and Prometheus HTTP service discovery of the operator."""
DISCOVERY_PATH = "/sd/relays"
SLO_DISCOVERY_PATH = "/sd/relays/slo"


class ConditionType(StrEnum):
    """Every condition type the operator writes; docs/conditions.md explains each."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    NAMESPACE_READY = "NamespaceReady"
    CREDENTIALS_READY = "CredentialsReady"
    ISOLATED = "Isolated"
    RELAY_AVAILABLE = "RelayAvailable"
    ROLLED_OUT = "RolledOut"
    PROGRAMMED = "Programmed"
    CERTIFICATE_READY = "CertificateReady"
    ACCEPTED = "Accepted"
    CANARY_CAPABLE = "CanaryCapable"
    OVERSUBSCRIBED = "Oversubscribed"
    PROBED = "Probed"
    DEFINITIONS_APPROVED = "DefinitionsApproved"
    TOOLS_READY = "ToolsReady"
    ANALYSIS_AVAILABLE = "AnalysisAvailable"
    WITHIN_SLO = "WithinSLO"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    PRICES_IN_FORCE = "PricesInForce"
    PRICED = "Priced"
    WITHIN_BUDGET = "WithinBudget"
    RECONCILED = "Reconciled"
    WITHIN_COST = "WithinCost"


class Reason(StrEnum):
    """Every condition reason; stable, part of the interface."""

    AVAILABLE = "Available"
    PROVISIONING = "Provisioning"
    SUSPENDED = "Suspended"
    INVALID_SPEC = "InvalidSpec"
    TIER_NOT_FOUND = "TierNotFound"
    NAMESPACE_CONFLICT = "NamespaceConflict"
    NAMESPACE_MISSING = "NamespaceMissing"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    TERMINATING = "Terminating"
    OWNED = "Owned"
    ADOPTED = "Adopted"
    SYNCED = "Synced"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason
    SECRET_IMMUTABLE = "SecretImmutable"  # noqa: S105 - a reason
    API_KEY_INVALID = "ApiKeyInvalid"
    KEY_ROTATED = "KeyRotated"
    KEY_OVERLAP_ENDED = "KeyOverlapEnded"
    KEY_REVOKED = "KeyRevoked"
    KEY_REPLACED = "KeyReplaced"
    CERTIFICATE_SERVED = "CertificateServed"
    CERTIFICATE_EXPIRING = "CertificateExpiring"
    CERTIFICATE_LOADING = "CertificateLoading"
    CERTIFICATE_MISSING = "CertificateMissing"
    CERTIFICATE_INVALID = "CertificateInvalid"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    NOT_PROBED = "NotProbed"
    PROBED = "Probed"
    NOT_ENFORCED = "NotEnforced"
    PROBE_FAILED = "ProbeFailed"
    UNVERIFIED = "Unverified"
    MINIMUM_REPLICAS_AVAILABLE = "MinimumReplicasAvailable"
    PROGRESSING = "Progressing"
    QUOTA_EXCEEDED = "QuotaExceeded"
    ROLLED_OUT = "RolledOut"
    ROLLING_OUT = "RollingOut"
    AWAITING_TURN = "AwaitingTurn"
    WAVE_STOPPED = "WaveStopped"
    ROLLOUT_STUCK = "RolloutStuck"
    ACKNOWLEDGED = "Acknowledged"
    WAITING_FOR_PODS = "WaitingForPods"
    ACCEPTED = "Accepted"
    PROVIDER_NOT_FOUND = "ProviderNotFound"
    PROVIDER_NOT_ALLOWED = "ProviderNotAllowed"
    MODEL_NOT_FOUND = "ModelNotFound"
    NOT_IN_USE = "NotInUse"
    ANSWERS = "Answers"
    MODEL_NOT_LISTED = "ModelNotListed"
    NO_STREAM = "NoStream"
    UNLISTED = "Unlisted"
    UNAUTHORIZED = "Unauthorized"
    UNREACHABLE = "Unreachable"
    INVALID_ANSWER = "InvalidAnswer"
    REVISION_UNSUPPORTED = "RevisionUnsupported"
    ALL_APPROVED = "AllApproved"
    DEFINITION_ADDED = "DefinitionAdded"
    DEFINITION_CHANGED = "DefinitionChanged"
    DEFINITIONS_ACCEPTED = "DefinitionsAccepted"
    GRANTED = "Granted"
    TOOL_SERVER_NOT_FOUND = "ToolServerNotFound"
    TOOL_SERVER_NOT_READY = "ToolServerNotReady"
    NOTHING_APPROVED = "NothingApproved"
    TOO_MANY_DEFINITIONS = "TooManyDefinitions"
    SERVER_ERROR = "ServerError"
    PROMISED_MORE = "PromisedMore"
    WITHIN_QUOTA = "WithinQuota"
    CAPABILITIES_MATCH = "CapabilitiesMatch"
    CAPABILITY_MISSING = "CapabilityMissing"
    CAPABILITIES_UNKNOWN = "CapabilitiesUnknown"
    ADDRESS_FORBIDDEN = "AddressForbidden"
    ADDRESS_CLOSED = "AddressClosed"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    SERVICE_UNUSABLE = "ServiceUnusable"
    CONFLICTED = "Conflicted"
    UNGUARDED_CHANGE = "UnguardedChange"
    DOCUMENT_FULL = "DocumentFull"
    NOT_A_TENANT_NAMESPACE = "NotATenantNamespace"
    CONFIGURED = "Configured"
    API_SERVER_REFUSED = "ApiServerRefused"
    API_SERVER_UNAVAILABLE = "ApiServerUnavailable"
    WRITE_CONFLICT = "WriteConflict"
    TOOK_TOO_LONG = "TookTooLong"
    INTERNAL_ERROR = "InternalError"

    IN_FORCE = "InForce"
    BACK_DATED = "BackDated"
    PRICES_REFUSED = "PricesRefused"
    LEDGER_UNAVAILABLE = "LedgerUnavailable"
    AWAITING_LEDGER = "AwaitingLedger"
    PRICED = "Priced"
    UNPRICED = "Unpriced"
    TOO_MANY_PRICES = "TooManyPrices"
    PRICE_LIST_NOT_FOUND = "PriceListNotFound"
    WITHIN_BUDGET = "WithinBudget"
    BUDGET_SPENT = "BudgetSpent"
    CREDIT_SPENT = "CreditSpent"
    BUDGET_ALERT = "BudgetAlert"
    WITHIN_ONE_PERCENT = "WithinOnePercent"
    DIFFERENCE_FOUND = "DifferenceFound"
    NEVER_RECONCILED = "NeverReconciled"
    NOTHING_COMPARED = "NothingCompared"
    NOT_SETTLED = "NotSettled"
    WITHIN_COST = "WithinCost"
    COST_HIGHER = "CostHigher"
    COST_UNKNOWN = "CostUnknown"
    NO_LEDGER = "NoLedger"
    USAGE_UNKNOWN = "UsageUnknown"
    NO_CALLS = "NoCalls"
    KNOWN = "Known"

    RESTORED = "Restored"
    READY = "Ready"

    # verdicts
    HEALTHY = "Healthy"
    NO_CANARY = "NoCanary"
    NO_ANALYSIS = "NoAnalysis"
    ERROR_RATE = "ErrorRate"
    LATENCY = "Latency"
    BREAKER_TRIPPED = "BreakerTripped"
    TOO_FEW_REQUESTS = "TooFewRequests"
    REFUSES_MORE = "RefusesMore"
    LEFT_MORE = "LeftMore"
    SHARED_INCIDENT = "SharedIncident"
    SUSPECTED = "Suspected"
    THROTTLED = "Throttled"
    STALLED_CALLS = "StalledCalls"
    TOKEN_DRIFT = "TokenDrift"  # noqa: S105 - a reason
    NO_LIMIT = "NoLimit"
    NO_DATA = "NoData"
    IMPOSSIBLE_FIGURES = "ImpossibleFigures"
    PROMETHEUS_UNAVAILABLE = "PrometheusUnavailable"

    # moves of the canary
    PREFLIGHT = "Preflight"
    PREFLIGHT_FAILED = "PreflightFailed"
    SHADOWING = "Shadowing"
    SHADOW_DIFFERS = "ShadowDiffers"
    STARTED = "Started"
    STEP_PASSED = "StepPassed"
    AWAITING_EVIDENCE = "AwaitingEvidence"
    DESTINATION_REACHED = "DestinationReached"
    LOWERED = "Lowered"
    HELD = "Held"
    PAUSED = "Paused"
    PROMOTED = "Promoted"
    SLO_BREACH = "SloBreach"
    ROLLED_BACK = "RolledBack"
    RETURNED_TO_STABLE = "ReturnedToStable"
    FROZEN = "Frozen"
    RESUMED = "Resumed"
    BAKING = "Baking"
    AWAITING_APPROVAL = "AwaitingApproval"
    STEP_DEADLINE = "StepDeadline"
    UNMEASURABLE = "Unmeasurable"
    UNRECORDED = "Unrecorded"
    COOLING_DOWN = "CoolingDown"
    STABLE_UNHEALTHY = "StableUnhealthy"
    EVACUATED = "Evacuated"
    AWAITING_BUDGET = "AwaitingBudget"


def leader_lease(shard: str) -> str:
    """Returns the Lease of the operators of a shard; empty for the main ones."""
    return f"{LEADER_LEASE}-{shard}" if shard else LEADER_LEASE


def tenant_namespace(tenant: str) -> str:
    """Returns the namespace of a tenant's relay; two tenants never share one."""
    return f"{NAMESPACE_PREFIX}{tenant}"


def owner_of(kind: str, namespace: str, name: str) -> str | None:
    """Returns the tenant that would own an object of this name, None where the operator makes none. Labels say nothing."""
    home = name if kind == "Namespace" else namespace
    made = {home} if kind == "Namespace" else _CHILDREN.get(kind, set())
    if not home.startswith(NAMESPACE_PREFIX) or name not in made:
        return None
    return home.removeprefix(NAMESPACE_PREFIX)


_CHILDREN = {
    "ConfigMap": {DOCUMENT_CONFIGMAP},
    "Deployment": {RELAY},
    "HorizontalPodAutoscaler": {RELAY},
    "LimitRange": {RELAY},
    "NetworkPolicy": {DEFAULT_DENY, RELAY},
    "PodDisruptionBudget": {RELAY},
    "ResourceQuota": {RELAY},
    "RoleBinding": {TENANT_ROLE_BINDING},
    "Service": {RELAY},
    "ServiceAccount": {RELAY},
}
"""The names of what the operator writes in a tenant's namespace, by kind, but for Secrets, which are not watched."""


def watched_children() -> tuple[tuple[str, str], ...]:
    """Returns kind and name of everything that the operator writes in a tenant's namespace, but for Secrets."""
    return tuple((kind, name) for kind, made in _CHILDREN.items() for name in sorted(made))


def proxy_credentials_entry(provider: str) -> str:
    """Returns the entry of UPSTREAM_SECRET with a provider's proxy credentials. No Provider's name has an underscore."""
    return f"{provider}_proxy"


def client_certificate_entries(provider: str) -> tuple[str, str]:
    """Returns the entries of UPSTREAM_SECRET with a provider's client certificate and its key."""
    return f"{provider}_tls.crt", f"{provider}_tls.key"


_TOOL_SERVER_ENTRY = "_tools_"
"""No Provider's entry begins with an underscore."""


def tool_server_entry(server: str) -> str:
    """Returns the entry of UPSTREAM_SECRET with a tool server's credential."""
    return f"{_TOOL_SERVER_ENTRY}{server}"


def tool_server_of_entry(entry: str) -> str:
    """Returns the tool server that an entry of UPSTREAM_SECRET is for; empty for the entry of a provider."""
    name = entry.removeprefix(_TOOL_SERVER_ENTRY)
    return name if name != entry else ""


def provider_of_entry(entry: str) -> str:
    """Returns the provider that an entry of UPSTREAM_SECRET is for; empty for the entry of a tool server."""
    return entry.partition("_")[0]


def relay_selector(tenant: str) -> dict[str, str]:
    """Returns the labels that select a tenant's relay pods. They never change: a Deployment's selector is immutable."""
    return {LABEL_NAME: RELAY, LABEL_TENANT: tenant}


def standard_labels(tenant: str, *, component: str = RELAY) -> dict[str, str]:
    """Returns the labels of every object that the operator writes for a tenant."""
    return {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_COMPONENT: component,
        **relay_selector(tenant),
    }
