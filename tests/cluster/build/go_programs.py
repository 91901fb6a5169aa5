"""The Go programs of a cluster, and the cache keys of their builds.

Each module below `go/` pins one tool with its checked-in go.mod and go.sum. A build is named by a digest of
all its inputs, so equal inputs are built once and different inputs never share a directory.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import paths
from tests.cluster.errors import ClusterError

KUBERNETES_VERSION = "v1.36.3"

BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-buildvcs=false")
BUILD_ENVIRONMENT = {
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
    "CGO_ENABLED": "0",
    "GOFLAGS": "",
}


@dataclass(frozen=True, slots=True)
class Program:
    """One executable: its file name and the main package it is built from."""

    name: str
    package: str


@dataclass(frozen=True, slots=True)
class Module:
    """One directory below go/ with the programs its go.mod provides."""

    directory: str
    programs: tuple[Program, ...]
    linker_flags: str = "-s -w"

    @property
    def path(self) -> Path:
        return paths.PACKAGE / "go" / self.directory


def _kubernetes_linker_flags(version: str) -> str:
    """Returns flags that set the version: module zips carry none, and `kubectl version` cannot parse the default."""
    major, minor, _ = version.removeprefix("v").split(".")
    settings = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    flags = [
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in settings.items()
    ]
    return " ".join(["-s -w", *flags])


def _kubernetes_command(name: str) -> Program:
    return Program(name, f"k8s.io/kubernetes/cmd/{name}")


MODULES = (
    Module(
        "kubernetes",
        (
            _kubernetes_command("kube-apiserver"),
            _kubernetes_command("kube-controller-manager"),
            _kubernetes_command("kube-scheduler"),
            _kubernetes_command("kubelet"),
            _kubernetes_command("kube-proxy"),
            _kubernetes_command("kubectl"),
            Program("etcd", "go.etcd.io/etcd/server/v3"),
        ),
        _kubernetes_linker_flags(KUBERNETES_VERSION),
    ),
    Module("helm", (Program("helm", "helm.sh/helm/v4/cmd/helm"),)),
    Module(
        "kube-network-policies",
        (
            Program(
                "kube-network-policies",
                "sigs.k8s.io/kube-network-policies/cmd/kube-network-policies/standard",
            ),
        ),
    ),
    Module("coredns", (Program("coredns", "github.com/coredns/coredns"),)),
    Module("kwok", (Program("kwok", "sigs.k8s.io/kwok/cmd/kwok"),)),
)
"""What a cluster consists of."""

KSTATUS = Module("kstatus", (Program("kstatus", "relay-operator.dev/cluster/kstatus"),))
"""A few lines of our own around the library by which GitOps tools and helm read status; no part of a cluster."""

MCP_CLIENT = Module("mcp-client", (Program("mcp-client", "relay-operator.dev/cluster/mcp-client"),))
"""A client of the Model Context Protocol by the official SDK for Go; no part of a cluster."""

KREW = Module("krew", (Program("krew", "sigs.k8s.io/krew/cmd/krew"),))
KREW_VALIDATOR = Module(
    "krew", (Program("validate-krew-manifest", "sigs.k8s.io/krew/cmd/validate-krew-manifest"),)
)
"""What installs plugins of kubectl, and what its index is checked with, from one module of Go; no part of a cluster."""

PROMETHEUS_OPERATOR_SOURCE = "github.com/prometheus-operator/prometheus-operator"
PROMETHEUS_OPERATOR = Module(
    "prometheus-operator",
    tuple(
        Program(name, f"{PROMETHEUS_OPERATOR_SOURCE}/cmd/{name}")
        for name in ("operator", "prometheus-config-reloader", "admission-webhook")
    ),
)
"""What a Prometheus is run by in many clusters, what it puts beside it, and what refuses rules there; no part of a cluster."""

CHART_TOOLS = {
    module.directory: module
    for module in (
        Module("helm-docs", (Program("helm-docs", "github.com/norwoodj/helm-docs/cmd/helm-docs"),)),
        Module(
            "kubeconform", (Program("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),)
        ),
        Module("kube-score", (Program("kube-score", "github.com/zegl/kube-score/cmd/kube-score"),)),
    )
}
"""What looks at the chart and is no part of a cluster: built by the tests that need it."""

Version = tuple[int, ...]


def required_go_version() -> Version:
    """Returns the newest `go` directive of our modules: an older toolchain refuses to build them."""
    return max(
        parse_go_directive((module.path / "go.mod").read_text(), module.directory)
        for module in (*MODULES, *CHART_TOOLS.values())
    )


def parse_go_directive(go_mod: str, module: str) -> Version:
    found = re.search(r"^go (\d+(?:\.\d+)*)$", go_mod, re.MULTILINE)
    if found is None:
        raise ClusterError(f"go/{module}/go.mod has no go directive")
    return tuple(int(part) for part in found[1].split("."))


def parse_go_version(output: str) -> Version:
    """Parses the output of `go env GOVERSION`, e.g. go1.26.8; a release candidate counts as its release."""
    found = re.match(r"go(\d+(?:\.\d+)*)", output.strip())
    if found is None:
        raise ClusterError(
            f"cannot read a version from the output of go env GOVERSION: {output.strip()!r}"
        )
    return tuple(int(part) for part in found[1].split("."))


def cache_key(
    module: Module,
    *,
    go_mod: bytes,
    go_sum: bytes,
    go_version: str,
    sources: tuple[bytes, ...] = (),
) -> str:
    """Returns the 16 hex digits that name a module's build. Each input is delimited by its length.

    sources are the module's own files of Go; most modules only pin those of others.
    """
    digest = hashlib.sha256()
    packages = "\n".join(f"{program.name} {program.package}" for program in module.programs)
    inputs = (
        go_mod,
        go_sum,
        go_version.encode(),
        packages.encode(),
        " ".join(BUILD_FLAGS).encode(),
        module.linker_flags.encode(),
        repr(sorted(BUILD_ENVIRONMENT.items())).encode(),
        *sources,
    )
    for part in inputs:
        digest.update(f"{len(part)}:".encode())
        digest.update(part)
    return digest.hexdigest()[:16]


def module_directory(module: Module, go_version: str) -> Path:
    """Returns the directory of this module's programs, built or not."""
    key = cache_key(
        module,
        go_mod=(module.path / "go.mod").read_bytes(),
        go_sum=(module.path / "go.sum").read_bytes(),
        go_version=go_version,
        sources=tuple(path.read_bytes() for path in sorted(module.path.glob("*.go"))),
    )
    return paths.binaries_root() / f"{module.directory}-{key}"


def collection_directory(go_version: str) -> Path:
    """Returns the directory with a link to every program, for PATH."""
    names = "\n".join(module_directory(module, go_version).name for module in MODULES)
    return paths.binaries_root() / hashlib.sha256(names.encode()).hexdigest()[:16]
