"""The platform's facts that the builders need, as values."""

from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The platform's ledger: its URL, labels of its pods in the operator's namespace, and the outbox of a relay pod.

    tool_call_mebibytes, outbox_when_full and outbox_drain_seconds are the relay's settings of these names.
    """

    url: str
    pods: tuple[tuple[str, str], ...]
    outbox_mebibytes: int
    tool_call_mebibytes: int = 8
    outbox_when_full: str = "serve"
    outbox_drain_seconds: int = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The operator's surroundings. public_keys is the text of endpoints.ENV_DOCUMENT_PUBLIC_KEYS; rollout_seconds how
    long new relay pods may take until they count as not coming up; rollouts_at_once how many tenants' pods a change of the
    platform rolls at a time.

    operator_pods, prometheus_pods and dns_pods are labels that the pods have, each in its namespace; none for every pod of it.
    image_pull_secrets are Secrets of the operator's namespace with credentials for the registry of relay_image.
    cluster_cidrs are the addresses of the cluster itself, which no relay may reach.
    """

    operator_namespace: str
    service_account: str
    tenant_cluster_role: str
    relay_image: str
    relay_image_pull_policy: str
    public_keys: str
    image_pull_secrets: tuple[str, ...] = ()
    prometheus_namespace: str
    operator_pods: tuple[tuple[str, str], ...] = ()
    prometheus_pods: tuple[tuple[str, str], ...] = ()
    dns_namespace: str
    dns_pods: tuple[tuple[str, str], ...] = ()
    dns_cidrs: tuple[str, ...] = ()
    dns_nameservers: tuple[str, ...] = ()
    cluster_cidrs: tuple[str, ...] = ()
    drain_seconds: int = 60
    rollout_seconds: int = 300
    rollouts_at_once: int = 5
    ledger: Ledger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The way to one provider: a Service's pods, or address blocks, or (neither) any public address."""

    provider: str
    port: int | str
    namespace: str = ""
    pod_selector: tuple[tuple[str, str], ...] = ()
    cidrs: tuple[str, ...] = ()
