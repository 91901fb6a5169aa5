"""Settings of the control plane, from the environment (prefix OPERATOR_), read once in main."""

import ipaddress
import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from relay_operator import names

LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$")]
_MOST_NAMESERVERS = 3
"""Kubernetes takes no more of a pod (dnsConfig.nameservers)."""
_LABEL = re.compile(
    r"([a-z0-9][a-z0-9.-]{0,252}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
    r"=([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
)


class Settings(BaseSettings):
    """Decisions of the platform team; tenants decide in their objects. Seconds unless a name says otherwise."""

    # a wrong value may hold a credential, and the error goes to the log
    model_config = SettingsConfigDict(
        env_prefix="OPERATOR_", frozen=True, hide_input_in_errors=True
    )

    namespace: str = Field(
        default="relay-system", description="where the operator runs; Provider Secrets live here"
    )
    relay_image: str = Field(default="relay-operator:dev", description="image of the relay pods")
    relay_image_pull_policy: str = Field(
        default="IfNotPresent", description="pull policy of the relay pods"
    )
    image_pull_secrets: str = Field(
        default="",
        description="comma-separated names of Secrets, where the operator runs, with credentials for the image's registry",
    )
    tenant_cluster_role: str = Field(
        default="relay-operator-tenant",
        description="the ClusterRole that the operator binds to itself in each tenant namespace",
    )
    service_account: str = Field(
        default="relay-operator", description="the operator's own ServiceAccount"
    )
    pod_selector: str = Field(
        default="app.kubernetes.io/name=relay-operator,app.kubernetes.io/instance=relay-operator",
        min_length=1,
        description="labels of the operator's own pods; they may connect to relays' admin ports",
    )
    prometheus_url: str = Field(
        default="", description="base URL of Prometheus; if empty, every analysis is unmeasurable"
    )
    prometheus_namespace: str = Field(
        default="monitoring", description="namespace of Prometheus' pods, which may scrape relays"
    )
    prometheus_pod_selector: str = Field(
        default="app.kubernetes.io/name=prometheus",
        description="labels of Prometheus' pods there; empty for every pod of that namespace",
    )
    prometheus_scrape_seconds: float = Field(
        default=2.0, gt=0, le=86_400, description="scrape interval of /metrics/slo"
    )
    prometheus_job: str = Field(
        default="relays-slo",
        min_length=1,
        description="job that scrapes /metrics/slo; series of other jobs are ignored",
    )
    prometheus_job_label: LabelName = Field(
        default="job", description="label in which Prometheus records the job"
    )
    prometheus_namespace_label: LabelName = Field(
        default="namespace", description="label in which Prometheus records a pod's namespace"
    )
    prometheus_pod_label: LabelName = Field(
        default="pod", description="label in which Prometheus records a pod"
    )
    prometheus_headers: dict[HeaderName, HeaderValue] = Field(
        default={},
        description="headers sent with every query, as JSON; e.g. X-Scope-OrgID for a Mimir tenant",
    )
    prometheus_ca_file: str = Field(
        default="", description="CA certificates for Prometheus; if empty, the system's"
    )
    prometheus_certificate_file: str = Field(
        default="", description="client certificate, with prometheus_key_file"
    )
    prometheus_key_file: str = Field(default="", description="key of the client certificate")
    prometheus_token_file: str = Field(
        default="", description="bearer token; read for each query, so it can be rotated"
    )
    prometheus_username_file: str = Field(
        default="", description="user name for basic authentication, with prometheus_password_file"
    )
    prometheus_password_file: str = Field(
        default="", description="password for basic authentication"
    )
    webhook_url: str = Field(
        default="",
        description="URL that is notified of every move of a canary and of budget thresholds; if empty, no messages are sent",
    )
    webhook_secret_file: str = Field(
        default="",
        description="signing key of messages (whsec_ and base64); read for each message, so it can be rotated",
    )
    webhook_ca_file: str = Field(
        default="", description="CA certificates for the receiver; if empty, the system's"
    )
    webhook_allowed_cidrs: str = Field(
        default="",
        description="comma-separated non-public address blocks in which the receiver may be",
    )
    ledger_url: str = Field(
        default="",
        pattern=r"^(https?://[^@/ ]+)?$",
        description="URL at which relays and the operator reach relay-ledger; empty for a platform without a ledger",
    )
    ledger_keys_file: str = Field(
        default="",
        description="file with the ledger's keys, one per line, from which the tokens of relays and of the operator are derived; reloaded when it changes",
    )
    ledger_pod_selector: str = Field(
        default="app.kubernetes.io/name=relay-operator-ledger,app.kubernetes.io/instance=relay-operator",
        description="labels of the ledger's pods in the operator's namespace; relays may connect to them",
    )
    outbox_mebibytes: int = Field(
        default=64,
        ge=4,
        le=65536,
        description="space in each relay pod for records that the ledger does not have yet, in MiB",
    )
    tool_call_mebibytes: int = Field(
        default=8,
        ge=1,
        le=1024,
        description="space in each relay pod for records of tool calls that the ledger does not have yet, in MiB",
    )
    outbox_when_full: Literal["serve", "refuse"] = Field(
        default="serve",
        description="what a relay does when that space is full: serve calls without recording them, or refuse them",
    )
    outbox_drain_seconds: int = Field(
        default=15,
        ge=1,
        le=3600,
        description="additional grace period of relay pods after drain_seconds, to deliver records that the ledger does not have yet",
    )
    dns_namespace: str = Field(
        default="kube-system", description="namespace of the cluster's DNS pods"
    )
    dns_pod_selector: str = Field(
        default="k8s-app=kube-dns",
        description="labels of the DNS pods there; empty for every pod of that namespace",
    )
    dns_cidrs: str = Field(
        default="", description="comma-separated addresses of DNS servers that are not pods"
    )
    dns_nameservers: str = Field(
        default="",
        description="comma-separated addresses of DNS servers that relays use instead of the cluster's; if empty, they use the cluster's",
    )
    cluster_domain: str = Field(
        default="cluster.local",
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
        description="DNS domain of the cluster, used in the names of Providers' Services",
    )
    cluster_cidrs: str = Field(
        default="",
        description="comma-separated address blocks of the cluster itself (nodes, API server); no Provider may use them",
    )

    @field_validator("prometheus_url")
    @classmethod
    def _the_url_holds_no_credentials(cls, url: str) -> str:
        # it stands in the pod's spec and in logs
        if "@" in urlsplit(url).netloc:
            raise ValueError(
                "prometheus_url must hold no credentials; use prometheus_token_file, or "
                "prometheus_username_file and prometheus_password_file"
            )
        return url

    @field_validator("webhook_url")
    @classmethod
    def _the_webhook_is_reached_by_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("webhook_url must be an http or https URL with a host")
        if "@" in parts.netloc:
            raise ValueError("webhook_url must hold no credentials; messages are signed instead")
        return url

    @model_validator(mode="after")
    def _a_webhook_is_signed(self) -> Self:
        if self.webhook_url and not self.webhook_secret_file:
            raise ValueError("webhook_url needs webhook_secret_file: every message is signed")
        return self

    @model_validator(mode="after")
    def _the_ledger_knows_who_asks(self) -> Self:
        if self.ledger_url and not self.ledger_keys_file:
            raise ValueError("ledger_url needs ledger_keys_file: relays and operator show a token")
        return self

    @model_validator(mode="after")
    def _files_come_in_pairs(self) -> Self:
        for one, other in (
            ("prometheus_certificate_file", "prometheus_key_file"),
            ("prometheus_username_file", "prometheus_password_file"),
        ):
            if bool(getattr(self, one)) != bool(getattr(self, other)):
                raise ValueError(f"{one} and {other} are used together, or not at all")
        if self.prometheus_token_file and self.prometheus_password_file:
            raise ValueError(
                "prometheus_token_file and prometheus_password_file exclude each other"
            )
        return self

    @field_validator("pod_ips")
    @classmethod
    def _every_pod_ip_is_one(cls, text: str) -> str:
        for address in split(text):
            ipaddress.ip_address(address)
        return text

    @field_validator(
        "pod_selector", "prometheus_pod_selector", "dns_pod_selector", "ledger_pod_selector"
    )
    @classmethod
    def _every_label_is_one(cls, text: str) -> str:
        if wrong := [one for one in split(text) if not _LABEL.fullmatch(one)]:
            raise ValueError(
                f"{', '.join(wrong)} is no label: write name=value, and a comma between"
            )
        return text

    @field_validator("dns_nameservers")
    @classmethod
    def _every_address_is_one(cls, text: str) -> str:
        servers = [ipaddress.ip_address(one) for one in split(text)]
        if len(servers) > _MOST_NAMESERVERS:
            raise ValueError(f"a pod has at most {_MOST_NAMESERVERS} DNS servers")
        return text

    @field_validator("dns_cidrs", "cluster_cidrs", "webhook_allowed_cidrs")
    @classmethod
    def _every_cidr_is_one(cls, text: str) -> str:
        # an error at the start, instead of network policies that are refused for every tenant
        for cidr in split(text):
            ipaddress.ip_network(cidr, strict=False)
        return text

    provider_probe_seconds: float = Field(
        default=300,
        ge=0,
        le=86_400,
        description="interval at which two relay pods request the list of models of each Provider in use; 0 disables this",
    )
    isolation_required: bool = Field(
        default=True,
        description="whether a tenant gets no provider keys if its relay can reach destinations that its network policies forbid",
    )
    isolation_probe_seconds: float = Field(
        default=900,
        ge=10,
        le=86_400,
        description="interval at which the isolation of every tenant is measured, with 10 % jitter",
    )
    pod_ips: str = Field(
        default="", description="comma-separated addresses of the operator's own pod"
    )
    api_server_host: str = Field(
        default="",
        validation_alias="KUBERNETES_SERVICE_HOST",
        description="address of the API server, set by the kubelet in every pod",
    )
    api_server_port: int = Field(
        default=443,
        ge=1,
        le=65535,
        validation_alias="KUBERNETES_SERVICE_PORT",
        description="its port",
    )
    tick_seconds: float = Field(
        default=0.5,
        gt=0,
        le=86_400,
        description="period of the SLO loop; the number of queries per tick does not depend on the number of routes",
    )
    canaries_at_once: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="how many canaries, over all tenants, may progress at the same time; others wait. 0 sets no limit",
    )
    workers: int = Field(
        default=8,
        ge=1,
        le=64,
        description="reconcile workers; the work is CPU-bound, so more only add latency",
    )
    resync_seconds: float = Field(
        default=600,
        gt=0,
        le=86_400,
        description="every object is reconciled at least this often, spread evenly over the interval; with more than 750 Tenants with a route each, at a constant rate",
    )
    api_calls_per_second: float = Field(
        default=500,
        ge=0,
        le=1_000_000,
        description="sustained rate of calls to the API server over all reconciles; 0 sets no limit",
    )
    api_calls_per_second_of_tenant: float = Field(
        default=50,
        ge=0,
        le=1_000_000,
        description="the same for the reconciles of one tenant; 0 sets no limit",
    )
    secret_check_seconds: float = Field(
        default=30,
        gt=0,
        le=86_400,
        description="interval at which the Secrets of every tenant and of Providers are checked",
    )
    service_check_seconds: float = Field(
        default=5,
        gt=0,
        le=86_400,
        description="interval at which the Services of Providers are checked",
    )
    shard: str = Field(
        default="",
        description="name of this operator's shard; empty for the main operator, which has all Tenants that match no shard",
    )
    shards: str = Field(
        default="[]",
        description="all shards in order, as JSON with name and tenantSelector; a Tenant belongs to the first shard that matches it",
    )
    lease_seconds: int = Field(
        default=6,
        ge=3,
        le=60,
        description="duration of the Lease: a standby takes over after this time without a renewal; the leader stops after five sixths of it",
    )
    push_timeout_seconds: float = Field(
        default=2.0,
        gt=0,
        le=86_400,
        description="time in which a pod must acknowledge a pushed document before the push is retried",
    )
    tiers_file: str = Field(
        default="", description="file with the platform's tiers, in JSON; empty if there are none"
    )
    rollouts_at_once: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="how many tenants' relay pods a platform change (image, tier) rolls at the same time",
    )
    rollout_seconds: int = Field(
        default=300,
        ge=10,
        le=3600,
        description="time after which a rollout counts as failed if new relay pods are not available",
    )
    drain_seconds: int = Field(
        default=60,
        ge=1,
        le=3600,
        description="grace period of relay pods, in which open streams finish",
    )
    port: int = Field(
        default=names.OPERATOR_PORT,
        ge=0,
        le=65535,
        description="health, metrics and service discovery",
    )
    log_format: str = Field(
        default="json", pattern="^(json|text)$", description="json in a cluster, text for people"
    )

    @property
    def closed_addresses(self) -> tuple[str, ...]:
        """Addresses and blocks of the cluster that no Provider leads relays to: those that are named, and the API server's own."""
        named = split(self.cluster_cidrs)
        try:
            return (*named, str(ipaddress.ip_address(self.api_server_host)))
        except ValueError:
            # none, or a name
            return named


def split(text: str) -> tuple[str, ...]:
    """Returns the entries of a comma-separated setting."""
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


def labels(selector: str) -> tuple[tuple[str, str], ...]:
    """Returns the labels of a selector such as app=prometheus,team=platform, by name."""
    pairs = (entry.partition("=") for entry in split(selector))
    return tuple(sorted((name, value) for name, _, value in pairs))
