"""A real API server with the chart's roles and admission policies: who asks, with which rights, and what they get."""

import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from tests.cluster.session.clients import Client
from tests.contract import kinds
from tests.contract.api_requests import requests_of

from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import KubernetesApiServer
from relay_operator.manifests import credentials, namespace, tenant, workload
from relay_operator.manifests.environment import Platform

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "relay-operator"
SYSTEM = "relay-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:relay-operator"
BREAK_GLASS = "relay-operator:break-glass"
IMAGE = "relay-operator:dev"
INSTALLED = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "ServiceAccount",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
)
PLATFORM = Platform(
    operator_namespace=SYSTEM,
    service_account="relay-operator",
    tenant_cluster_role="relay-operator-tenant",
    relay_image=IMAGE,
    relay_image_pull_policy="Never",
    public_keys="k",
    prometheus_namespace="monitoring",
    dns_namespace="kube-system",
    dns_pods=(("k8s-app", "kube-dns"),),
)
SECONDS = 20.0

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who asks the API server: by a kubeconfig, and by whom that one impersonates, told by kubectl's flags."""

    client: Client
    flags: tuple[str, ...] = ()

    def ask(self, *arguments: str, stdin: Manifest | None = None) -> str:
        """Asks by kubectl; returns the API server's refusal, empty where it did what was asked."""
        done = self._run(*arguments, stdin=stdin)
        return "" if done.returncode == 0 else done.stderr.strip()

    def apply(self, manifest: Manifest) -> str:
        """Applies a manifest as the operator does, by server-side apply; returns the refusal."""
        return requests_of(self.client).apply(manifest, self._headers()).refusal

    def create(self, manifest: Manifest, *, dry: bool = False) -> str:
        """Creates an object, or asks what would become of that; returns the refusal."""
        return requests_of(self.client).create(manifest, self._headers(), dry=dry).refusal

    def patch(self, kind: str, name: str, space: str, *operations: tuple[str, str, Any]) -> str:
        """Patches an object by JSON patch operations: add, replace or remove, a path, a value."""
        listed = [{"op": what, "path": path, "value": value} for what, path, value in operations]
        return self._changed(kind, name, space, listed)

    def report(self, kind: str, name: str, space: str, fields: Manifest) -> str:
        """Changes the status of an object, and what else of it comes that way."""
        return self._changed(kind, name, space, fields, "status")

    def get(self, *arguments: str) -> Manifest:
        found: Manifest = self.client.json(*self.flags, "get", *arguments)
        return found

    def _changed(self, kind: str, name: str, space: str, change: Any, *below: str) -> str:
        asker = requests_of(self.client)
        return asker.patch(kind, name, space, change, *below, acts_as=self._headers()).refusal

    def _headers(self) -> list[tuple[str, str]]:
        """Returns the headers that kubectl sends for the flags."""
        told = (flag.removeprefix("--as").split("=", 1) for flag in self.flags)
        return [
            ("impersonate-group" if what == "-group" else "impersonate-user", value)
            for what, value in told
        ]

    def _run(
        self, *arguments: str, stdin: Manifest | None = None
    ) -> subprocess.CompletedProcess[str]:
        text = None if stdin is None else json.dumps(stdin)
        return self.client.attempt(*self.flags, *arguments, stdin=text)


def somebody(kubectl: Client, name: str, *groups: str) -> Account:
    """Returns a person of these groups, without rights of their own."""
    flags = [f"--as-group={group}" for group in groups]
    return Account(kubectl, (f"--as={name}", *flags))


def with_token(kubectl: Client, token: str, directory: Path) -> Account:
    """Returns who has nothing but a token."""
    config = yaml.safe_load(kubectl.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return Account(Client(kubectl.program, path, directory))


def rendered(helm: Client, *values: str) -> list[Manifest]:
    """Returns what the chart installs of roles and policies, without what `helm test` and upgrades have of their own."""
    sets = ",".join(("image.repository=relay-operator", "image.tag=dev", *values))
    hooks = ("--no-hooks", "--skip-tests")
    text = helm(
        "template", "relay-operator", str(CHART), *hooks, "--namespace", SYSTEM, "--set", sets
    )
    return [one for one in yaml.safe_load_all(text) if one and one["kind"] in INSTALLED]


@contextmanager
def installed(kubectl: Client, helm: Client, *values: str) -> Iterator[None]:
    """Installs the custom resources, roles and policies; takes the policies and roles away again."""
    kinds.install(kubectl)
    # what the module before this one has left is still going
    kubectl("wait", "--for=delete", f"namespace/{SYSTEM}", "--timeout=60s")
    system = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    objects = rendered(helm, *values)
    kubectl.apply(system, *objects)
    try:
        yield
    finally:
        apart = [
            f"{one['kind']}/{one['metadata']['name']}"
            for one in objects
            if one["kind"].startswith(("Validating", "Cluster"))
        ]
        kubectl("delete", *apart, "--ignore-not-found")
        kubectl("delete", "namespace", SYSTEM, "--wait=false")


@contextmanager
def operator(kubectl: Client, helm: Client, directory: Path, *values: str) -> Iterator[Account]:
    """Installs everything, and returns who has the operator's own token once its bounds hold."""
    with installed(kubectl, helm, *values):
        token = kubectl("create", "token", "relay-operator", "-n", SYSTEM).strip()
        account = with_token(kubectl, token, directory)
        until_refused(account, binding(SYSTEM))
        yield account


@asynccontextmanager
async def api_server(account: Account) -> AsyncIterator[KubernetesApiServer]:
    """Returns the API server as the operator's own code reaches it."""
    configuration = kubernetes_client.Configuration()
    await kubernetes_config.load_kube_config(
        config_file=str(account.client.kubeconfig), client_configuration=configuration
    )
    api = KubernetesApiServer(kubernetes_client.ApiClient(configuration=configuration))
    try:
        yield api
    finally:
        await api.close()


def until_refused(account: Account, manifest: Manifest) -> str:
    """Returns a policy's refusal of what it forbids, which takes a moment after the policy was made."""
    deadline = time.monotonic() + SECONDS
    # without it, what is there already is refused as well
    while "ValidatingAdmissionPolicy" not in (refusal := account.create(manifest, dry=True)):
        assert time.monotonic() < deadline, f"no policy refuses {manifest}: {refusal}"
        time.sleep(0.2)
    return refusal


def binding(space: str, **changed: Any) -> Manifest:
    """Returns the operator's RoleBinding in a namespace."""
    subject = {"kind": "ServiceAccount", "name": "relay-operator", "namespace": SYSTEM}
    role = {"kind": "ClusterRole", "name": "relay-operator-tenant"}
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "relay-operator", "namespace": space},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", **role},
        "subjects": [subject],
    }
    return body | changed


def a_tenant(kubectl: Client, name: str, **spec: Any) -> Tenant:
    """Creates a Tenant and returns it."""
    manifest = {
        "apiVersion": "relay-operator.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": spec,
    }
    kubectl.apply(manifest)
    return Tenant.parse(kubectl.json("get", "tenant", name))


def home_of(owner: Tenant) -> list[Manifest]:
    """Returns everything the operator writes for a tenant, in its order."""
    keys = {"default": "sk-relay-finance-1"}
    return [
        namespace.namespace(owner),
        namespace.operator_binding(owner, PLATFORM),
        *tenant.bounds(owner),
        *tenant.isolation(owner, PLATFORM, []),
        credentials.api_keys(owner, keys, stamps="{}"),
        credentials.upstream_keys(owner, {"legacy": "k"}),
        credentials.image_pull(owner, {"registry.test": {"auth": "eDp5"}}),
        credentials.document_configmap(owner, "{}"),
        workload.service(owner),
        # none, so that no image is needed
        _without_pods(workload.deployment(owner, PLATFORM)),
        workload.disruption_budget(owner),
    ]


def make_home(account: Account, manifests: Sequence[Manifest]) -> None:
    """Writes what home_of() returns, all of which must be let through."""
    for manifest in manifests:
        assert account.apply(manifest) == "", manifest
        until_bound(account, manifest)


def until_bound(account: Account, written: Manifest) -> None:
    """Waits for the rights that a RoleBinding, if this is one, gives the operator in its namespace."""
    if written["kind"] == "RoleBinding":
        metadata = {"name": "asked", "namespace": written["metadata"]["namespace"]}
        until_allowed(account, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def until_allowed(account: Account, manifest: Manifest) -> None:
    """Waits until an account has the right to create an object: the API server hears of a RoleBinding a moment after it was written."""
    deadline = time.monotonic() + SECONDS
    while "cannot create resource" in (refusal := account.create(manifest, dry=True)):
        assert time.monotonic() < deadline, refusal
        time.sleep(0.05)


def _without_pods(deployment: Manifest) -> Manifest:
    return {**deployment, "spec": {**deployment["spec"], "replicas": 0}}
