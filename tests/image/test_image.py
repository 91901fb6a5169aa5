"""The image: what is in it and what is not, that it tells of itself, and that equal sources give equal bytes."""

import json
import re
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.cluster import paths
from tests.cluster.images import archive, catalogue, debian, layers, python

MOST_BYTES = 310 * 10**6
"""Uncompressed, all layers: 289 MB are there, 123 of them the client library of Kubernetes."""
LAUNCHERS = ("relay", "relay-ledger", "relay-operator")


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


def inside(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of the image as its user, with the image's environment."""
    arguments = ["/usr/sbin/chroot", f"--userspec={catalogue.NON_ROOT}", str(root), *command]
    variables = dict(one.split("=", 1) for one in catalogue.PYTHON_ENVIRONMENT)
    return subprocess.run(
        arguments, env=variables, capture_output=True, text=True, check=False, timeout=60
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


def test_what_keeps_it_from_starting_is_said_in_one_line(root: Path) -> None:
    operator, relay = inside(root, "relay-operator"), inside(root, "relay")
    assert operator.returncode == 1
    assert "no API server is known" in operator.stderr
    assert "Traceback" not in operator.stderr
    assert relay.returncode == 2
    assert "RELAY_TENANT_UID: Field required" in relay.stderr


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
