"""The user's own kubectl, so that every way of its kubeconfig to log in works."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubectl_relay.cluster.answers import problem
from kubectl_relay.errors import PluginError
from relay_operator.names import GROUP, VERSION

FIELD_MANAGER: Final = "kubectl-relay"
_SECONDS: Final = 60.0
_RESOURCES: Final = f"/apis/{GROUP}/{VERSION}"


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl with the options that say which cluster and who (--context, --kubeconfig, --as and so on)."""

    options: tuple[str, ...] = ()

    def tenant(self, name: str) -> Mapping[str, Any]:
        """Reads a Tenant."""
        return self._read(f"{_RESOURCES}/tenants/{name}", f"read Tenant {name}")

    def tenants(self) -> list[Mapping[str, Any]]:
        """Reads all Tenants."""
        return self._list(f"{_RESOURCES}/tenants", "list Tenants")

    def providers(self) -> list[Mapping[str, Any]]:
        """Reads all Providers."""
        return self._list(f"{_RESOURCES}/providers", "list Providers")

    def route(self, namespace: str, name: str) -> Mapping[str, Any]:
        """Reads a RelayRoute with what it says of who manages its fields."""
        path = f"{_RESOURCES}/namespaces/{namespace}/relayroutes/{name}"
        return self._read(path, f"read RelayRoute {name} in {namespace}")

    def routes(self, namespace: str) -> list[Mapping[str, Any]]:
        """Reads the RelayRoutes of a namespace; of all namespaces if it is empty."""
        if not namespace:
            return self._list(f"{_RESOURCES}/relayroutes", "list RelayRoutes of all namespaces")
        path = f"{_RESOURCES}/namespaces/{namespace}/relayroutes"
        return self._list(path, f"list RelayRoutes in {namespace}")

    def routes_named(self, name: str) -> list[Mapping[str, Any]]:
        """Reads the RelayRoutes of this name in all namespaces."""
        path = f"{_RESOURCES}/relayroutes?fieldSelector=metadata.name={name}"
        return self._list(path, "list RelayRoutes of all namespaces")

    def secret(self, namespace: str, name: str) -> Mapping[str, Any]:
        """Reads a Secret."""
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        return self._read(path, f"read Secret {name} in {namespace}")

    def namespace(self) -> str:
        """Returns the namespace of the current context."""
        query = ("config", "view", "--minify", "-o", "jsonpath={..namespace}")
        return self.run(query, "read the kubeconfig").strip() or "default"

    def contexts(self) -> list[str]:
        """Returns the names of the kubeconfig's contexts."""
        return self.run(("config", "get-contexts", "-o", "name"), "read the kubeconfig").split()

    def patch_route(
        self, namespace: str, name: str, patch: Mapping[str, Any], *, dry_run: bool
    ) -> None:
        """Writes a part of a RelayRoute."""
        command = ["patch", f"relayroutes.{GROUP}", name, "-n", namespace, "--type=merge"]
        command += ["-p", json.dumps(patch), f"--field-manager={FIELD_MANAGER}", "-o", "name"]
        command += ["--dry-run=server"] if dry_run else []
        self.run(command, f"change RelayRoute {name} in {namespace}")

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Returns a command line of kubectl for this cluster."""
        return ["kubectl", *self.options, *arguments]

    def run(self, arguments: Sequence[str], what: str) -> str:
        """Runs kubectl and returns its output; raises PluginError with what it said."""
        try:
            done = subprocess.run(
                self.command(arguments),
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise PluginError(
                "kubectl is not on PATH; this plugin asks it for everything"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise PluginError(
                f"kubectl did not {what} within {_SECONDS:g} s; is the cluster reachable?"
            ) from error
        if done.returncode:
            raise problem(done.stderr or done.stdout, what)
        return done.stdout

    def _read(self, path: str, what: str) -> Mapping[str, Any]:
        said = self.run(("get", "--raw", path), what)
        try:
            found = json.loads(said)
        except ValueError as error:
            raise PluginError(f"kubectl could not {what}: the answer is no JSON") from error
        if not isinstance(found, Mapping):
            raise PluginError(f"kubectl could not {what}: the answer is no object")
        return found

    def _list(self, path: str, what: str) -> list[Mapping[str, Any]]:
        items = self._read(path, what).get("items")
        return [one for one in items if isinstance(one, Mapping)] if isinstance(items, list) else []
