"""README, docs and examples as their readers go through them: every command, pasted in order, on one cluster.

It begins without the operator and ends without it. What a reader has beforehand is here the simulated providers, images that were
pushed, and definitions of other projects where a page is about these. `tests/pages/story.py` has the order of the pages.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from pytest_kind import KindCluster
from tests.cluster.node.image_import import CTR
from tests.cluster.session.provider import Provider
from tests.demo import stage
from tests.demo import story as demonstration
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.demo.providers import SimulatedProvider
from tests.pages import blocks, definitions, output, story
from tests.pages.blocks import ROOT, Block, Fate
from tests.pages.shell import BlockFailed, Shell

BLOCK_SECONDS: Final = 150.0
SPARE: Final = ("monitoring", "web", "relay-marketing", "relay-research")
FAULT: Final = demonstration.FAULT


def _emptied(cluster: Cluster) -> None:
    """Takes away the operator, all it made, and what the pages make beside it."""
    if "tenants.relay-operator.dev" in cluster.kubectl("get", "crds", "-o", "name"):
        cluster.kubectl("delete", "tenants", "--all", "--timeout=90s")
        cluster.kubectl("delete", "providers.relay-operator.dev", "--all", "--timeout=60s")
    cluster.helm("uninstall", "relay-operator", "-n", stage.OPERATOR_NAMESPACE, "--ignore-not-found", "--wait")  # fmt: skip
    spare = [*SPARE, stage.OPERATOR_NAMESPACE]
    cluster.kubectl("delete", "namespace", *spare, "--ignore-not-found", "--timeout=90s")
    # namespaces of Tenants end after them; what is applied to one that ends would go with it
    wait_until("the end of their namespaces", lambda: _ending(cluster), [].__eq__, seconds=90)


def _ending(cluster: Cluster) -> list[str]:
    """Lists the namespaces that end, or will since their Tenant has."""
    found = [one["metadata"] for one in cluster.get("namespaces")["items"]]
    return [
        one["name"]
        for one in found
        if "deletionTimestamp" in one
        or any(owner["kind"] == "Tenant" for owner in one.get("ownerReferences", ()))
    ]


def _pushed(cluster: Cluster, found: Provider) -> None:
    """Gives the images of the tests the names that the pages have for them, as if they had been pushed."""
    for image, name in story.IMAGES.items():
        if found.embedded:
            tag = [*CTR, "images", "tag", "--force", f"docker.io/library/{image}", name]
            commands = [[str(found.kind), "exec", cluster.name, *tag]]
        else:
            load = [str(found.kind), "load", "docker-image", name, "--name", cluster.name]
            commands = [["docker", "tag", image, name], load]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _are_others_left(request: pytest.FixtureRequest) -> bool:
    """Returns whether tests that need the operator come, or may come, after this module's."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # which of the files that are left this process gets is not known yet
        return True
    items = request.session.items
    ours = max(at for at, item in enumerate(items) if item.path == request.path)
    return any("staged" in getattr(item, "fixturenames", ()) for item in items[ours + 1 :])


@pytest.fixture(scope="module")
def reader(
    request: pytest.FixtureRequest,
    cluster: KindCluster,
    cluster_provider: Provider,
    images_loaded: tuple[str, ...],
) -> Iterator[Cluster]:
    """Empties the cluster; installs everything again if tests come after these that need it."""
    kubeconfig = Path(cluster.kubeconfig_path).resolve()
    found = Cluster(cluster.name, kubeconfig, cluster_provider.kubectl, cluster_provider.helm)
    _emptied(found)
    _pushed(found, cluster_provider)
    found.kubectl("apply", "-f", str(stage.MANIFESTS / "providers.yaml"))
    yield found
    _emptied(found)
    if _are_others_left(request):
        stage.install(found, dns_cidrs=stage.dns_server_cidrs(found))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a copy of the repository, in which pages may write, with the development tools of this one."""
    directory = tmp_path_factory.mktemp("checkout")
    unwanted = shutil.ignore_patterns(".*", "__pycache__", "dist")
    shutil.copytree(ROOT, directory, ignore=unwanted, dirs_exist_ok=True)
    (directory / ".venv").symlink_to(ROOT / ".venv")
    return directory


@pytest.fixture
def shell(
    reader: Cluster, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    """Opens a terminal of the reader's: kubectl, helm, and python3 with the OpenAI SDK."""
    home = tmp_path_factory.mktemp("home")
    for name, program in (("kubectl", reader.kubectl_path), ("helm", reader.helm_path)):
        (home / name).symlink_to(program)
    opened = Shell(
        directory=checkout,
        environment={
            "PATH": f"{home}:{ROOT / '.venv/bin'}:{os.environ['PATH']}",
            "HOME": str(home),
            "USER": "reader",
            "KUBECONFIG": str(reader.kubeconfig),
            **story.YOURS,
        },
        state=home / "state",
    )
    yield opened
    opened.close()


def _from_the_first_tenant(cluster: Cluster, directory: Path) -> None:
    """Puts back the route without a canary, from which each of the later examples goes on."""
    for name in stage.PROVIDERS:
        SimulatedProvider(cluster, name).reset()
    cluster.kubectl("delete", "relayroute", "chat", "-n", "relay-finance", "--ignore-not-found")
    cluster.kubectl("apply", "-f", str(stage.EXAMPLES / "01-first-tenant" / "route.yaml"))


def _second_canary_fails(cluster: Cluster, directory: Path) -> None:
    """Has the tenant's callers call, and its first provider fail, which gets no calls yet."""
    stage.start_caller(cluster)
    SimulatedProvider(cluster, "legacy").behave(**FAULT)


def _own_digests(cluster: Cluster, directory: Path) -> None:
    cluster.kubectl(
        "delete", "secret", "relay-api-key-digests", "-n", "relay-finance", "--ignore-not-found"
    )


def _unbound(cluster: Cluster, directory: Path) -> None:
    cluster.kubectl("delete", "rolebinding", "finance", "-n", "relay-finance")


def _application(cluster: Cluster, directory: Path) -> None:
    """Deploys the application that takes its address from a Secret."""
    container = {"name": "app", "image": "provider-simulator:dev", "imagePullPolicy": "Never"}
    labels = {"app": "app"}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 0}
    spec = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": "web"},
        "spec": spec,
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(deployment))


def _others(*published: definitions.Published, namespace: str) -> Callable[[Cluster, Path], None]:
    """Returns what defines the kinds of other projects, without the controllers behind them."""

    def define(cluster: Cluster, directory: Path) -> None:
        files = definitions.downloaded(published, directory)
        named = [part for file in files for part in ("-f", str(file))]
        cluster.kubectl("apply", "--server-side", *named)
        # the API server knows a kind a moment after its definition is there, and tells of it later still. `kubectl wait` would not
        # do: it fails on a definition whose status has no conditions yet
        kinds = json.loads(cluster.kubectl("get", *named, "-o", "json"))
        plurals = {_plural(one) for one in kinds.get("items", [kinds])}
        wait_until(
            "the kinds of these definitions",
            lambda: set(cluster.kubectl("api-resources", "-o", "name").split()),
            plurals.issubset,
            seconds=60,
        )
        for name in namespace.split():
            cluster.kubectl("apply", "-f", "-", stdin=json.dumps(_namespace(name)))

    return define


def _plural(definition: dict[str, Any]) -> str:
    return f"{definition['spec']['names']['plural']}.{definition['spec']['group']}"


def _namespace(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


BEFORE: Final[dict[str, Callable[[Cluster, Path], None]]] = {
    "examples/02-canary/README.md": _second_canary_fails,
    **{
        page: _from_the_first_tenant
        for page in story.PAGES
        if "examples/03" <= page < "examples/10" or page.endswith("first-migration.md")
    },
    "docs/api-keys.md": _own_digests,
    "docs/tenancy.md": _unbound,
    "docs/how-to/without-the-relay.md": _application,
    "examples/12-gitops/README.md": _others(*definitions.GITOPS, namespace="argocd flux-system"),
    "examples/13-cert-manager/README.md": _others(
        *definitions.CERT_MANAGER, namespace="cert-manager"
    ),
}
"""What readers of a page have done before, beside the pages before it."""


def _printed(block: Block, cluster: Cluster, shell: Shell) -> str:
    """Pastes a block; when it fails, its error has what the cluster says as well."""
    try:
        return shell.run(block, seconds=BLOCK_SECONDS)
    except BlockFailed as failed:
        with contextlib.suppress(DemoFailed):
            failed.add_note(cluster.kubectl("get", "relay", "-A", "-o", "wide"))
        raise


@pytest.mark.timeout(420)
@pytest.mark.parametrize("page", story.PAGES)
def test_every_command_of_the_page_does_what_the_page_says(
    page: str, reader: Cluster, shell: Shell, tmp_path: Path
) -> None:
    if page in BEFORE:
        BEFORE[page](reader, tmp_path)
    ran = 0
    for block in blocks.blocks_of(page):
        if block.fate is Fate.CLUSTER:
            printed = _printed(block, reader, shell)
            print(f"--- {block.place}\n{printed}")
            missing = output.absent(block.shown, printed)
            assert not missing, f"{block.place} shows what was not printed: {missing}"
            ran += 1
    assert ran
    for look in blocks.looks_of(page):
        _printed(look, reader, shell)
