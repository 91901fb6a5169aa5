"""The image: what is in it and what is not, that it tells of itself, and that equal sources give equal bytes."""

import base64
import hashlib
import http.server
import json
import re
import stat
import subprocess
import tarfile
import threading
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.cluster import paths
from tests.cluster.images import archive, catalogue, debian, layers, python

from relay_operator import names

MOST_BYTES = 235 * 10**6
"""Uncompressed, all layers: 230 MB are there, 50 of them the ledger's libraries."""
LAUNCHERS = {
    "relay": "RELAY_TENANT_UID (required)",
    "relay-ledger": "RELAY_LEDGER_DATABASE (required)",
    "relay-operator": "OPERATOR_NAMESPACE=",
}
"""The programs, each with a setting that its help names."""
_LONGEST_SECONDS = 600
"""Of a command that takes three, since these tests run on what others leave idle of the processors."""


@pytest.fixture(scope="module")
def image() -> archive.Image:
    return catalogue.relay_operator()


@pytest.fixture(scope="module")
def root(image: archive.Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Returns a directory with the image's files."""
    place = tmp_path_factory.mktemp("image") / "root"
    place.mkdir()
    for layer in image.layers:
        subprocess.run(["tar", "-xf", str(layer.path), "-C", str(place)], check=True)
    yield place
    subprocess.run(["rm", "-rf", str(place)], check=True)


def inside(root: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the image as its user, with the image's environment and more."""
    arguments = ["/usr/sbin/chroot", f"--userspec={catalogue.NON_ROOT}", str(root), *command]
    variables = dict(one.split("=", 1) for one in catalogue.PYTHON_ENVIRONMENT) | more
    return subprocess.run(
        arguments,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_SECONDS,
    )


def version() -> str:
    text = (paths.REPOSITORY / "pyproject.toml").read_text()
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.parametrize("program", LAUNCHERS)
def test_it_tells_its_version_and_its_settings(root: Path, program: str) -> None:
    assert inside(root, program, "--version").stdout == f"{program} {version()}\n"
    said = inside(root, program, "--help")
    assert said.returncode == 0
    assert said.stdout.startswith(f"usage: {program}")
    assert f"\n  {LAUNCHERS[program]}" in said.stdout


def test_what_keeps_it_from_starting_is_said_in_one_line(root: Path) -> None:
    operator, relay = inside(root, "relay-operator"), inside(root, "relay")
    ledger = inside(root, "relay-ledger", "serve")
    assert operator.returncode == 1
    assert "no API server is known" in operator.stderr
    assert "Traceback" not in operator.stderr
    assert relay.returncode == 2
    assert "RELAY_TENANT_UID: Field required" in relay.stderr
    assert (ledger.returncode, ledger.stderr) == (
        2,
        "relay-ledger: RELAY_LEDGER_DATABASE: Field required\n",
    )


def test_it_runs_as_nobody_in_particular_and_holds_no_tools(
    image: archive.Image, root: Path
) -> None:
    assert image.user == "65532:65532"
    programs = {
        path.name
        for path in root.rglob("*")
        if path.is_file()
        and path.parent.name in ("bin", "sbin")
        and path.stat().st_mode & stat.S_IXUSR
    }
    assert programs == {*LAUNCHERS, "python3", "python3.11"}
    # set-user-ID and set-group-ID
    assert [
        str(one) for one in root.rglob("*") if one.lstat().st_mode & 0o6000 and one.is_file()
    ] == []
    assert not list(root.rglob("pip"))


def test_it_does_not_grow_unseen(image: archive.Image) -> None:
    assert sum(layer.size for layer in image.layers) < MOST_BYTES


def test_what_is_installed_is_whole_and_fits_together(root: Path) -> None:
    """Looks as `pip check` does, and at every file that a distribution says it has."""
    place = root / python.SITE_PACKAGES
    installed = {canonicalize_name(one.name): one for one in distributions(path=[str(place)])}
    assert len(installed) > 30
    environment = {"extra": "", "python_version": python.PYTHON_VERSION}
    for one in installed.values():
        for text in one.requires or ():
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate(environment):
                found = installed[canonicalize_name(wanted.name)]
                assert found.version in wanted.specifier, f"{one.name} needs {text}"
        for file in one.files or ():
            content = Path(str(one.locate_file(file))).read_bytes()
            if file.hash is not None:
                digest = hashlib.new(file.hash.mode, content).digest()
                assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == file.hash.value


def test_whatever_a_process_imports_is_there(root: Path) -> None:
    """Imports every module of all processes, and says with what the Kubernetes client names and loads on demand."""
    project = tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    packages = [Path(one).name for one in wheel["packages"]]
    assert len(packages) == 4
    script = (
        "import importlib, pkgutil, sys\n"
        f"for name in {packages}:\n"
        "    package = importlib.import_module(name)\n"
        "    for one in pkgutil.walk_packages(package.__path__, f'{name}.'):\n"
        # alembic alone runs its own
        "        if not one.name.endswith(('.__main__', '.migrations.env')):\n"
        "            importlib.import_module(one.name)\n"
        "print(len(sys.modules))\n"
        "print(*(name for name in sys.modules if name.startswith('kubernetes.')\n"
        "        and name.split('.')[-2] in ('api', 'models')))\n"
    )
    done = inside(root, "python3", "-c", script)
    assert done.returncode == 0, done.stderr
    loaded, generated = done.stdout.splitlines()
    assert int(loaded) > 500
    assert generated == ""


def test_the_ledger_makes_its_tables_and_answers_from_them(root: Path) -> None:
    """Shows that the image has the libraries of the ledger: its tables are made by migrations that it carries."""
    database = {"RELAY_LEDGER_DATABASE": "sqlite:////tmp/ledger.db"}
    done = inside(root, "relay-ledger", "report", "--month", "2026-10", **database)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tenant,")
    assert (root / "tmp" / "ledger.db").stat().st_size > 0


class _Tenants(http.server.BaseHTTPRequestHandler):
    """An API server with one Tenant that waits for its finalizer."""

    asked: ClassVar[list[str]] = []
    tenant: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        self.asked.append(f"GET {self.path}")
        self._answer(404 if "/namespaces/" in self.path else 200)

    def do_PATCH(self) -> None:
        self.asked.append(f"PATCH {self.path}")
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200)

    def _answer(self, status: int) -> None:
        if status != 200:
            answer: dict[str, Any] = {"kind": "Status"}
        elif self.path.partition("?")[0].endswith("/tenants"):
            answer = {"kind": "PartialObjectMetadataList", "items": [self.tenant]}
        else:
            answer = self.tenant
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Says nothing: the requests are kept."""


def test_a_command_speaks_to_an_api_server(root: Path) -> None:
    """Runs `relay-operator release` with a kubeconfig: the image's Kubernetes client logs in, asks and writes."""
    _Tenants.tenant = {
        "apiVersion": "relay-operator.dev/v1alpha1",
        "kind": "Tenant",
        "metadata": {
            "name": "finance",
            "uid": "1",
            "resourceVersion": "1",
            "finalizers": [names.FINALIZER],
            "deletionTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {},
    }
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Tenants) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [
                {"name": "it", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
            ],
            "users": [{"name": "it", "user": {"token": "secret"}}],
        }
        (root / "tmp" / "config").write_text(json.dumps(config))
        done = inside(root, "relay-operator", "release", "finance", KUBECONFIG="/tmp/config")
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert "tenant finance: released" in done.stdout
    assert any(one.startswith("PATCH ") and "/tenants/finance" in one for one in _Tenants.asked)


def test_the_license_is_inside(root: Path) -> None:
    own = (paths.REPOSITORY / "LICENSE").read_bytes()
    assert (root / python.DESCRIPTIONS / "LICENSE").read_bytes() == own


def test_the_bill_of_materials_names_all_that_is_installed(root: Path) -> None:
    found: dict[str, Any] = json.loads((root / python.DESCRIPTIONS / "sbom.cdx.json").read_text())
    assert found["metadata"]["component"]["purl"] == f"pkg:pypi/relay-operator@{version()}"
    named = {one["purl"] for one in found["components"]}
    lock = (paths.REPOSITORY / python.LOCK).read_text()
    locked = re.findall(r"^([A-Za-z0-9._-]+)==([^ \\]+)", lock, re.MULTILINE)
    assert {f"pkg:pypi/{name}@{number.replace('!', '%21')}" for name, number in locked} == {
        one for one in named if one.startswith("pkg:pypi/")
    }
    for package in debian.BASE_PACKAGES:
        begins = f"pkg:deb/debian/{quote(package)}@"
        assert any(one.startswith(begins) for one in named), package


def test_no_library_lists_scripts_of_the_machine_that_built_the_image(
    image: archive.Image,
) -> None:
    """Their hashes would differ from machine to machine, and the files are not there."""
    with tarfile.open(image.layers[1].path) as layer:
        records = [one for one in layer if one.name.endswith(".dist-info/RECORD")]
        assert len(records) > 10
        for one in records:
            content = layer.extractfile(one)
            assert content is not None
            assert b"../bin/" not in content.read(), one.name


def test_equal_sources_give_equal_bytes(
    image: archive.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Builds the two layers of ours anew, with nothing of theirs in the cache; the hot path is compiled once for both."""
    compiled = paths.cache_root() / "compiled"
    base = layers.read(paths.layers_root() / debian.base_key())
    assert base is not None
    cache = tmp_path / "cache"
    (cache / "layers").mkdir(parents=True)
    (cache / "compiled").symlink_to(compiled)
    (cache / "layers" / debian.base_key()).symlink_to(base.path.parent)
    monkeypatch.setenv("RELAY_CACHE", str(cache))
    again = catalogue.relay_operator()
    assert [one.sha256 for one in again.layers] == [one.sha256 for one in image.layers]
    assert archive.manifest_digest(again) == archive.manifest_digest(image)
