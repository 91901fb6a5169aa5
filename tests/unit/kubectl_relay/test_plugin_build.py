"""What is shipped: equal bytes from equal sources, one file that needs nothing but Python, a manifest that krew takes."""

import ast
import hashlib
import io
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import plugin_build

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    plugin_build.build(directory, "https://example.com/kubectl-relay.tar.gz")
    return directory


def test_equal_sources_give_equal_bytes(built: Path, tmp_path: Path) -> None:
    plugin_build.build(tmp_path, "https://example.com/kubectl-relay.tar.gz")
    names = sorted(path.name for path in built.iterdir())
    assert names == [
        "kubectl-relay",
        "kubectl-relay.tar.gz",
        "kubectl_complete-relay",
        "relay.yaml",
    ]
    for name in names:
        assert (built / name).read_bytes() == (tmp_path / name).read_bytes()


def run(built: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the plugin without any library, and without kubectl."""
    command = [sys.executable, "-I", "-S", str(built / "kubectl-relay"), *arguments]
    return subprocess.run(
        command, env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False
    )


def test_it_runs_with_the_standard_library_alone(built: Path) -> None:
    assert run(built, "--version").stdout == f"kubectl relay {plugin_build.version()}\n"
    told = run(built, "status")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == "error: kubectl is not on PATH; this plugin asks it for everything\n"
    assert run(built, "unknown").returncode == 2


def test_it_takes_names_and_pure_decisions_of_the_operator_alone(built: Path) -> None:
    with zipfile.ZipFile(built / "kubectl-relay") as archive:
        others = {name for name in archive.namelist() if not name.startswith("kubectl_relay/")}
    assert {name for name in others if not name.endswith("__init__.py")} == {
        "__main__.py",
        "relay_contract/endpoints.py",
        "relay_operator/api/durations.py",
        "relay_operator/decisions/canary/schedule.py",
        "relay_operator/decisions/canary/state.py",
        "relay_operator/decisions/timestamps.py",
        "relay_operator/names.py",
    }


def test_an_older_python_is_told_what_is_needed(built: Path) -> None:
    with zipfile.ZipFile(built / "kubectl-relay") as archive:
        start = archive.read("__main__.py").decode()
    # what an older one reads first has to be understood by it
    ast.parse(start, feature_version=(3, 7))
    assert start.index("version_info < (3, 11)") < start.index("kubectl_relay")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert project["version"] == plugin_build.version()


def test_krew_finds_in_the_archive_what_the_manifest_names(built: Path) -> None:
    manifest = yaml.safe_load((built / "relay.yaml").read_text())
    packed = (built / "kubectl-relay.tar.gz").read_bytes()
    assert manifest["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert manifest["metadata"]["name"] == "relay"
    spec = manifest["spec"]
    assert spec["version"] == f"v{plugin_build.version()}"
    # krew's rules: one short line without the words kubectl or plugin
    assert len(spec["shortDescription"]) <= 50
    (platform,) = spec["platforms"]
    assert platform["sha256"] == hashlib.sha256(packed).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        modes = {member.name: member.mode for member in tar.getmembers()}
    assert modes == {"LICENSE": 0o644, "kubectl-relay": 0o755, "kubectl_complete-relay": 0o755}
    assert {one["from"] for one in platform["files"]} == set(modes)
    assert platform["bin"] == "kubectl-relay"


def test_kubectl_completes_by_the_plugin_beside_it(built: Path) -> None:
    found = subprocess.run(
        [str(built / "kubectl_complete-relay"), "pl"],
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith("plan\t")
    assert found.stdout.endswith(":4\n")
