"""Components of a node: their command lines and start conditions."""

import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.cluster import addresses, paths
from tests.cluster.cluster_records import ClusterRecord
from tests.cluster.node.configuration_files import LOCAL_API

OUTSIDE_NAMESPACE = "/run/netns/outside"
POLICY_QUEUE = 100
POLICY_ENGINE = "kube-network-policies"
ETCD_CLIENT = "http://127.0.0.1:2379"
ETCD_PEER = "http://127.0.0.1:2380"


class After(StrEnum):
    """Start condition of a component. Starting all at once costs two crashes and 0.5 s."""

    NOTHING = "nothing"
    CONTAINERD = "containerd"
    API = "api"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Component:
    name: str
    command: tuple[str, ...]
    after: After = After.NOTHING


def components(record: ClusterRecord) -> tuple[Component, ...]:
    """Returns every component of this node, in the order in which they start."""
    return (
        Component("etcd", _etcd(record)),
        Component("kube-apiserver", _api_server(record)),
        Component("containerd", _containerd(record)),
        Component("outside", _outside()),
        Component("kubelet", _kubelet(record), After.CONTAINERD),
        Component(POLICY_ENGINE, _policy_engine(record), After.API),
        Component("kube-proxy", _kube_proxy(record), After.API),
        Component("kube-controller-manager", _controller_manager(record), After.API),
        Component("kube-scheduler", _scheduler(record), After.API),
        Component("kwok", _kwok(record), After.REQUEST),
    )


def _program(record: ClusterRecord, name: str) -> str:
    return str(Path(record.binaries) / name)


def _kubeconfig(record: ClusterRecord, stem: str) -> str:
    return str(record.directory / f"{stem}.kubeconfig")


def _certificate(record: ClusterRecord, name: str) -> str:
    return str(record.directory / "pki" / name)


def _node_address(record: ClusterRecord) -> str:
    return addresses.link(record.index).node_address


def _feature_gates(record: ClusterRecord) -> list[str]:
    gates = record.feature_gates or {}
    listed = ",".join(f"{name}={str(on).lower()}" for name, on in gates.items())
    return [f"--feature-gates={listed}"] if listed else []


def _etcd(record: ClusterRecord) -> tuple[str, ...]:
    return (
        _program(record, "etcd"),
        "--name=node",
        f"--data-dir={record.directory / 'etcd'}",
        # the data need not survive a crash of the machine
        "--unsafe-no-fsync",
        f"--listen-client-urls={ETCD_CLIENT}",
        f"--advertise-client-urls={ETCD_CLIENT}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=node={ETCD_PEER}",
        f"--quota-backend-bytes={4 * 1024**3}",
        "--log-level=warn",
    )


def _api_server(record: ClusterRecord) -> tuple[str, ...]:
    runtime_config = ",".join(f"{k}={v}" for k, v in (record.runtime_config or {}).items())
    return (
        _program(record, "kube-apiserver"),
        f"--etcd-servers={ETCD_CLIENT}",
        "--bind-address=0.0.0.0",
        f"--advertise-address={_node_address(record)}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={addresses.SERVICE_CIDR}",
        f"--service-account-issuer=https://kubernetes.default.svc.{record.dns_domain}",
        f"--service-account-key-file={_certificate(record, 'sa.pub')}",
        f"--service-account-signing-key-file={_certificate(record, 'sa.key')}",
        f"--tls-cert-file={_certificate(record, 'apiserver.crt')}",
        f"--tls-private-key-file={_certificate(record, 'apiserver.key')}",
        f"--client-ca-file={_certificate(record, 'ca.crt')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={_certificate(record, 'kubelet-client.crt')}",
        f"--kubelet-client-key={_certificate(record, 'kubelet-client.key')}",
        f"--kubelet-certificate-authority={_certificate(record, 'ca.crt')}",
        # the node's name resolves nowhere, so exec and logs must go to its address
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={_certificate(record, 'front-proxy-ca.crt')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={_certificate(record, 'front-proxy.crt')}",
        f"--proxy-client-key-file={_certificate(record, 'front-proxy.key')}",
        "--enable-aggregator-routing=true",
        "--profiling=false",
        *_audit(record),
        *([f"--runtime-config={runtime_config}"] if runtime_config else []),
        *_feature_gates(record),
    )


def _audit(record: ClusterRecord) -> list[str]:
    if not record.audit_log:
        return []
    policy = record.directory / "audit-policy.json"
    return [f"--audit-log-path={record.audit_log_path}", f"--audit-policy-file={policy}"]


def _controller_manager(record: ClusterRecord) -> tuple[str, ...]:
    return (
        _program(record, "kube-controller-manager"),
        *_three_kubeconfigs(record, "controller-manager"),
        "--bind-address=127.0.0.1",
        f"--service-account-private-key-file={_certificate(record, 'sa.key')}",
        f"--root-ca-file={_certificate(record, 'ca.crt')}",
        "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={_certificate(record, 'ca.crt')}",
        f"--cluster-signing-key-file={_certificate(record, 'ca.key')}",
        f"--cluster-cidr={addresses.POD_CIDR}",
        # the pod network is static, and thousands of fake nodes would exhaust the range
        "--allocate-node-cidrs=false",
        f"--service-cluster-ip-range={addresses.SERVICE_CIDR}",
        "--leader-elect=false",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        "--node-monitor-grace-period=50s",
        *_feature_gates(record),
    )


def _scheduler(record: ClusterRecord) -> tuple[str, ...]:
    return (
        _program(record, "kube-scheduler"),
        *_three_kubeconfigs(record, "scheduler"),
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        *_feature_gates(record),
    )


def _three_kubeconfigs(record: ClusterRecord, stem: str) -> tuple[str, ...]:
    path = _kubeconfig(record, stem)
    return tuple(f"--{use}kubeconfig={path}" for use in ("", "authentication-", "authorization-"))


def _containerd(record: ClusterRecord) -> tuple[str, ...]:
    return ("containerd", "--config", f"{record.directory}/containerd.toml", "--log-level", "info")


def _kubelet(record: ClusterRecord) -> tuple[str, ...]:
    labels = ",".join(f"{key}={value}" for key, value in (record.node_labels or {}).items())
    return (
        _program(record, "kubelet"),
        f"--config={record.directory}/kubelet.json",
        f"--kubeconfig={_kubeconfig(record, 'kubelet')}",
        f"--hostname-override={record.node_name}",
        f"--node-ip={_node_address(record)}",
        f"--root-dir={record.directory}/kubelet",
        *([f"--node-labels={labels}"] if labels else []),
    )


def _kube_proxy(record: ClusterRecord) -> tuple[str, ...]:
    return (
        _program(record, "kube-proxy"),
        f"--kubeconfig={_kubeconfig(record, 'kube-proxy')}",
        f"--proxy-mode={record.proxy_mode}",
        f"--cluster-cidr={addresses.POD_CIDR}",
        f"--hostname-override={record.node_name}",
        # the size of conntrack's table is a setting of the whole machine
        "--conntrack-max-per-core=0",
        "--metrics-bind-address=127.0.0.1:10249",
        "--healthz-bind-address=127.0.0.1:10256",
        *_feature_gates(record),
    )


def _policy_engine(record: ClusterRecord) -> tuple[str, ...]:
    """Returns the engine of network policies. It gets packets by our own rule (policy_queue), because not every kernel
    has nftables' queue expression.
    """
    return (
        _program(record, "kube-network-policies"),
        f"--kubeconfig={_kubeconfig(record, 'admin')}",
        f"--hostname-override={record.node_name}",
        "--disable-nri",
        "--strict-mode=false",
        "--netfilter-bug-1766-fix=false",
        f"--nfqueue-id={POLICY_QUEUE}",
        "--metrics-bind-address=127.0.0.1:9080",
        "-v=0",
    )


def _kwok(record: ClusterRecord) -> tuple[str, ...]:
    """Returns kwok, which simulates nodes annotated kwok.x-k8s.io/node=fake and the pods on them only."""
    return (
        _program(record, "kwok"),
        f"--kubeconfig={_kubeconfig(record, 'admin')}",
        f"--config={paths.PACKAGE / 'kwok' / 'stages.yaml'}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        f"--cidr={addresses.FAKE_POD_CIDR}",
        f"--node-ip={addresses.FAKE_NODE_ADDRESS}",
        "--node-lease-duration-seconds=40",
        f"--master={LOCAL_API}",
    )


def _outside() -> tuple[str, ...]:
    module = [sys.executable, "-P", "-m", "tests.cluster.node.internet_stub"]
    return ("nsenter", f"--net={OUTSIDE_NAMESPACE}", *module)
