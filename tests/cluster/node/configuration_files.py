"""Configuration files of a node: container runtime, pod network, kubelet, and the components' kubeconfigs."""

import json
from pathlib import Path
from typing import Any

from tests.cluster import addresses, kubeconfig
from tests.cluster.cluster_records import ClusterRecord

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
PAUSE_IMAGE = "localhost/pause:1"
LOCAL_API = "https://127.0.0.1:6443"
CNI_DIRECTORY = "/usr/lib/cni"
COMPONENT_USERS = ("controller-manager", "scheduler", "kube-proxy", "kubelet", "admin")


OPERATOR_ACCOUNT = "system:serviceaccount:relay-system:relay-operator"
HOOK_ACCOUNTS = {
    f"clusterrole/relay-operator-{hook}": f"{OPERATOR_ACCOUNT}-{hook}" for hook in ("crds", "trial")
}
"""The accounts of the chart's hooks, by the roles that are theirs alone."""
"""Of the operator in the tests' clusters."""


def write(record: ClusterRecord, *, snapshotter: str) -> None:
    """Writes every file that components are started with to the state directory."""
    directory = record.directory
    for stem in COMPONENT_USERS:
        config = kubeconfig.for_user(
            directory / "pki", stem=stem, server=LOCAL_API, context=record.name
        )
        kubeconfig.write(directory / f"{stem}.kubeconfig", config)
    (directory / "cni").mkdir()
    _write_json(directory / "cni" / "10-pods.conflist", pod_network())
    (directory / "containerd.toml").write_text(containerd(directory, snapshotter))
    # for pods with dnsPolicy Default: the node has no other resolver than the cluster's
    (directory / "resolv.conf").write_text(f"nameserver {addresses.DNS_SERVICE}\n")
    _write_json(directory / "kubelet.json", kubelet(record))
    _write_json(directory / "audit-policy.json", audit_policy())


def audit_policy() -> dict[str, Any]:
    """Returns what the API server logs, if it does: changes that pods make, and which pod made each; not those of the control plane.

    Of the operator and of the chart's hooks it logs what they read, too: tests compare their rights with what they use.
    """
    changes = ["create", "update", "patch", "delete", "deletecollection"]
    pods = {
        "level": "Metadata",
        "userGroups": ["system:serviceaccounts"],
        "verbs": changes,
        "omitStages": ["RequestReceived"],
    }
    operator = {
        "level": "Metadata",
        "users": [OPERATOR_ACCOUNT, *HOOK_ACCOUNTS.values()],
        "verbs": ["get", "list", "watch"],
        "omitStages": ["RequestReceived"],
    }
    control_plane = {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]}
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "rules": [control_plane, pods, operator, {"level": "None"}],
    }


def pod_network() -> dict[str, Any]:
    """Returns the CNI configuration: one veth pair and one /32 route per pod, masqueraded on the way out."""
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-ipam",
                    "ranges": [[{"subnet": addresses.NODE_POD_CIDR}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def containerd(directory: Path, snapshotter: str) -> str:
    """Returns containerd's configuration, version 2 (read by 1.6 and later).

    restrict_oom_score_adj: without CAP_SYS_RESOURCE lower scores are refused, and no pod would start.
    enable_unprivileged_ports: default of Docker and newer containerd; CoreDNS listens on 53 without root.
    """
    unused = ("btrfs", "zfs", "aufs", "devmapper")
    disabled = [f"io.containerd.snapshotter.v1.{name}" for name in unused]
    disabled.append("io.containerd.tracing.processor.v1.otlp")
    return f"""\
version = 2
root = "{directory}/containerd"
state = "/run/containerd"
disabled_plugins = {json.dumps(disabled)}
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  enable_unprivileged_ports = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_DIRECTORY}"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
"""


def kubelet(record: ClusterRecord) -> dict[str, Any]:
    """Returns the KubeletConfiguration (v1beta1 of kubelet.config.k8s.io)."""
    directory = record.directory
    certificates = directory / "pki"
    one_percent = (
        "nodefs.available",
        "nodefs.inodesFree",
        "imagefs.available",
        "imagefs.inodesFree",
    )
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True, "cacheTTL": "2m0s"},
            "x509": {"clientCAFile": str(certificates / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificates / "kubelet.crt"),
        "tlsPrivateKeyFile": str(certificates / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{record.cgroup}",
        # Kubernetes 1.35 and later refuse cgroup v1 by default
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "resolvConf": str(directory / "resolv.conf"),
        # the machine also runs the tests: evict only if it is about to fail
        "evictionHard": {"memory.available": "50Mi", **dict.fromkeys(one_percent, "1%")},
        # loaded images exist nowhere else, so none may be collected
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "clusterDNS": [addresses.DNS_SERVICE],
        "clusterDomain": record.dns_domain,
        "maxPods": 200,
        "serializeImagePulls": False,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "podLogsDir": str(directory / "podlogs"),
        "volumePluginDir": str(directory / "volumeplugins"),
        "healthzBindAddress": "127.0.0.1",
        "featureGates": record.feature_gates or {},
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
