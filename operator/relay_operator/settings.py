"""Settings of the control plane, from the environment (prefix OPERATOR_), read once in main."""

import ipaddress

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from relay_operator import names


class Settings(BaseSettings):
    """Decisions of the platform team; tenants decide in their objects. Seconds unless a name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="OPERATOR_", frozen=True)

    namespace: str = Field(
        default="relay-system", description="where the operator runs; Provider Secrets live here"
    )
    relay_image: str = Field(default="relay-operator:dev", description="image of the relay pods")
    relay_image_pull_policy: str = Field(
        default="IfNotPresent", description="pull policy of the relay pods"
    )
    tenant_cluster_role: str = Field(
        default="relay-operator-tenant",
        description="the ClusterRole the operator binds itself to in each tenant namespace",
    )
    service_account: str = Field(
        default="relay-operator", description="the operator's own ServiceAccount"
    )
    prometheus_url: str = Field(
        default="", description="base URL of Prometheus; empty leaves every analysis unmeasurable"
    )
    prometheus_namespace: str = Field(
        default="monitoring", description="namespace whose pods may scrape relays"
    )
    prometheus_scrape_seconds: float = Field(
        default=2.0, gt=0, description="scrape interval of /metrics/slo"
    )
    dns_namespace: str = Field(
        default="kube-system", description="namespace of the cluster's DNS pods"
    )
    dns_cidrs: str = Field(
        default="", description="comma-separated addresses of DNS servers that are no pods"
    )

    @field_validator("dns_cidrs")
    @classmethod
    def _every_dns_cidr_is_one(cls, text: str) -> str:
        # an error at the start, instead of network policies that are refused for every tenant
        for cidr in split(text):
            ipaddress.ip_network(cidr, strict=False)
        return text

    tick_seconds: float = Field(
        default=0.5, gt=0, description="period of the SLO loop; one query a tick for all routes"
    )
    workers: int = Field(
        default=8, ge=1, le=64, description="reconcile workers; CPU-bound, more only adds latency"
    )
    resync_seconds: float = Field(
        default=600, gt=0, description="every object is reconciled at least this often"
    )
    secret_check_seconds: float = Field(
        default=30, gt=0, description="every tenant's own Secrets are looked at this often"
    )
    push_timeout_seconds: float = Field(
        default=2.0,
        gt=0,
        description="a pod that does not acknowledge a document in this time is tried again",
    )
    drain_seconds: int = Field(
        default=60, ge=1, le=3600, description="grace period of relay pods: streams finish in it"
    )
    port: int = Field(
        default=names.OPERATOR_PORT, description="health, metrics and service discovery"
    )
    log_format: str = Field(
        default="json", pattern="^(json|text)$", description="json in a cluster, text for people"
    )


def split(text: str) -> tuple[str, ...]:
    """Returns the entries of a comma-separated setting."""
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())
