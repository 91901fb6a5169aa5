"""The relay's Deployment, Service and PodDisruptionBudget."""

from collections.abc import Mapping

from relay_contract import endpoints
from relay_operator import names
from relay_operator.api.tenant import Entry, Tenant
from relay_operator.manifests.environment import Manifest, Platform
from relay_operator.manifests.ledger import delivery
from relay_operator.manifests.namespace import metadata
from relay_operator.manifests.policies import canonical

_PRE_STOP_SECONDS = 3
"""Longer than an endpoint takes to leave every node's proxy, so that no new connection is refused."""
_EXIT_SECONDS = 5
"""For the processes to end once nothing is left to do."""

SURGE_PODS = 1
"""Pods beyond those asked for, of the newest template, while others of a former one still serve."""


def deployment(
    tenant: Tenant,
    platform: Platform,
    *,
    template: Manifest | None = None,
    notes: Mapping[str, str] | None = None,
) -> Manifest:
    """Returns the Deployment. A change of the document changes nothing here, so it never restarts pods.

    With autoscaling it says nothing of how many pods there are. template is what pods are made from if not from what the
    Tenant and the platform ask for now; notes are kept as annotations.
    """
    scaled = tenant.spec.relay.autoscaling is not None
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(tenant, names.RELAY) | ({"annotations": dict(notes)} if notes else {}),
        "spec": {
            **({} if scaled else {"replicas": tenant.spec.relay.replicas}),
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": platform.rollout_seconds,
            "selector": {"matchLabels": names.relay_selector(tenant.metadata.name)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": SURGE_PODS, "maxUnavailable": 0},
            },
            "template": template or pod_template(tenant, platform),
        },
    }


def as_made(manifest: Manifest, fewest_pods: int) -> Manifest:
    """Returns the manifest as its object is made: a Deployment that is to be scaled begins with the fewest pods, not with 1."""
    if manifest["kind"] != "Deployment":
        return manifest
    return {**manifest, "spec": {"replicas": fewest_pods, **manifest["spec"]}}


def pod_template(tenant: Tenant, platform: Platform) -> Manifest:
    """Returns what the relay pods are made from."""
    return {
        "metadata": {
            "labels": names.standard_labels(tenant.metadata.name),
            "annotations": {"kubectl.kubernetes.io/default-container": names.RELAY},
        },
        "spec": _pod(tenant, platform),
    }


def _pod(tenant: Tenant, platform: Platform) -> Manifest:
    return {
        "serviceAccountName": names.RELAY,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": platform.drain_seconds
        + delivery.grace_seconds(platform.ledger)
        + _PRE_STOP_SECONDS
        + _EXIT_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            _spread(tenant, "topology.kubernetes.io/zone"),
            _spread(tenant, "kubernetes.io/hostname"),
        ],
        **_image_pull(platform),
        "containers": [_container(tenant, platform)],
        "volumes": [*_volumes(tenant), *delivery.volumes(platform.ledger)],
        **_dns(platform),
    }


def _image_pull(platform: Platform) -> Manifest:
    """Names the tenant's copy of the platform's credentials for the registry."""
    if not platform.image_pull_secrets:
        return {}
    return {"imagePullSecrets": [{"name": names.IMAGE_PULL_SECRET}]}


def _dns(platform: Platform) -> Manifest:
    """Names the DNS servers of the platform's choice; without any, relays ask those of the cluster."""
    if not platform.dns_nameservers:
        return {}
    # a name of a provider is whole: no search list, and so no question for names of this namespace
    config = {
        "nameservers": [*platform.dns_nameservers],
        "options": [{"name": "ndots", "value": "1"}],
    }
    return {"dnsPolicy": "None", "dnsConfig": config}


def _spread(tenant: Tenant, topology: str) -> Manifest:
    """Spreads the pods of one template evenly, as far as there is room; on one node all of them may run."""
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names.relay_selector(tenant.metadata.name)},
        # without it pods of the former template, which go next, would decide where new ones are put
        "matchLabelKeys": ["pod-template-hash"],
    }


def _container(tenant: Tenant, platform: Platform) -> Manifest:
    return {
        "name": names.RELAY,
        "image": platform.relay_image,
        "imagePullPolicy": platform.relay_image_pull_policy,
        "command": ["relay"],
        "env": [
            {"name": endpoints.ENV_TENANT_UID, "value": tenant.metadata.uid},
            {"name": endpoints.ENV_DOCUMENT_PUBLIC_KEYS, "value": platform.public_keys},
            {
                "name": endpoints.ENV_POD_NAME,
                # a fieldRef is compared whole, with what the API server would fill in
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
            },
            {"name": "RELAY_DRAIN_SECONDS", "value": str(platform.drain_seconds)},
            *delivery.environment(platform.ledger),
        ],
        "ports": [
            _container_port("traffic", endpoints.TRAFFIC_PORT),
            _container_port("admin", endpoints.ADMIN_PORT),
        ],
        "resources": tenant.spec.relay.resources.model_dump(mode="json"),
        "readinessProbe": _probe(endpoints.READY_PATH, period_seconds=1, failure_threshold=2),
        "livenessProbe": _probe(endpoints.HEALTH_PATH, period_seconds=10, failure_threshold=3),
        "startupProbe": _probe(endpoints.HEALTH_PATH, period_seconds=1, failure_threshold=60),
        "lifecycle": {"preStop": {"sleep": {"seconds": _PRE_STOP_SECONDS}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [*_mounts(tenant), *delivery.mounts(platform.ledger)],
    }


def _container_port(name: str, number: int) -> Manifest:
    # the API server knows a port by its number and protocol
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _probe(path: str, *, period_seconds: int, failure_threshold: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "admin"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 2,
        "failureThreshold": failure_threshold,
    }


def _mounts(tenant: Tenant) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "document", "mountPath": endpoints.DOCUMENT_MOUNT, "readOnly": True},
        {"name": "upstream", "mountPath": endpoints.UPSTREAM_KEYS_MOUNT, "readOnly": True},
        {"name": "state", "mountPath": endpoints.STATE_MOUNT},
    ]
    if tenant.spec.network.tls is not None:
        mounts.append({"name": "tls", "mountPath": endpoints.TLS_MOUNT, "readOnly": True})
        mounts.append({"name": "kept-tls", "mountPath": endpoints.KEPT_TLS_MOUNT})
    return mounts


def _volumes(tenant: Tenant) -> list[Manifest]:
    volumes: list[Manifest] = [
        {"name": "document", "configMap": {"name": names.DOCUMENT_CONFIGMAP}},
        {"name": "upstream", "secret": {"secretName": names.UPSTREAM_SECRET, "optional": True}},
        {"name": "state", "emptyDir": {"sizeLimit": "16Mi"}},
    ]
    if tenant.spec.network.tls is not None:
        volumes.append(
            {
                "name": "tls",
                "secret": {"secretName": tenant.spec.network.tls.secret_name, "optional": True},
            }
        )
        volumes.append({"name": "kept-tls", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}})
    return volumes


def service(tenant: Tenant) -> Manifest:
    """Returns the Service of the traffic port; the admin port is reached pod by pod."""
    entry = tenant.spec.network.service
    annotations = {"annotations": entry.annotations} if entry.annotations else {}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(tenant, names.RELAY) | annotations,
        "spec": {
            "type": entry.type,
            **_load_balancer(entry),
            "selector": names.relay_selector(tenant.metadata.name),
            "ports": [
                {
                    "name": "traffic",
                    "protocol": "TCP",
                    "port": endpoints.TRAFFIC_PORT,
                    "targetPort": "traffic",
                }
            ],
        },
    }


def _load_balancer(entry: Entry) -> Manifest:
    """Returns the fields of a load balancer: it leaves the callers' addresses, by which the network policy lets them in."""
    if entry.type != "LoadBalancer":
        return {}
    fields: Manifest = {"externalTrafficPolicy": "Local"}
    if entry.load_balancer_class is not None:
        fields["loadBalancerClass"] = entry.load_balancer_class
    if entry.load_balancer_source_ranges:
        ranges = (canonical(one) for one in entry.load_balancer_source_ranges)
        fields["loadBalancerSourceRanges"] = list(dict.fromkeys(ranges))
    return fields


def disruption_budget(tenant: Tenant) -> Manifest:
    """Returns a budget that lets one pod at a time be evicted, so that a node with a single replica can be drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(tenant, names.RELAY),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.relay_selector(tenant.metadata.name)},
        },
    }


def endpoint(tenant: Tenant, *, entry: str = "") -> str:
    """Returns the base_url for the tenant's SDK: at the load balancer's address, or within the cluster without one."""
    scheme = "https" if tenant.spec.network.tls is not None else "http"
    host = entry or f"{names.RELAY}.{names.tenant_namespace(tenant.metadata.name)}.svc"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{endpoints.TRAFFIC_PORT}/v1"
