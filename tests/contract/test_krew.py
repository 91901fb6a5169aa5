"""krew takes the plugin's manifest as its index would, and what it installs is what was built."""

import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cluster.session import provider
from tests.ecosystem.krew import Krew

import plugin_build


class _Archives(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What make plugin builds, with the archive where its manifest says."""
    directory = tmp_path_factory.mktemp("dist")
    handler = partial(_Archives, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{plugin_build.ARCHIVE}"
        plugin_build.build(directory, url)
        yield directory
        server.shutdown()


@pytest.fixture(scope="module")
def krew(tmp_path_factory: pytest.TempPathFactory) -> Krew:
    return Krew.beside(provider.find().kubectl, tmp_path_factory.mktemp("krew") / "programs")


def test_the_index_would_take_the_manifest(krew: Krew, built: Path) -> None:
    assert krew.refusal(built / plugin_build.MANIFEST) == ""


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda platform: platform.update(sha256="0" * 64), "checksum"),
        (lambda platform: platform.update(bin="bin/kubectl-relay"), "cannot be found"),
        (lambda platform: platform["files"][0].update({"from": "relay"}), "relay"),
        # an archive without its license
        (lambda platform: platform["files"].pop(), "license file"),
        (lambda platform: platform.pop("selector"), "nil selector"),
    ],
)
def test_the_validator_refuses_what_is_wrong(
    krew: Krew, built: Path, tmp_path: Path, change: Change, word: str
) -> None:
    manifest = yaml.safe_load((built / plugin_build.MANIFEST).read_text())
    change(manifest["spec"]["platforms"][0])
    (tmp_path / plugin_build.MANIFEST).write_text(yaml.safe_dump(manifest))
    assert word in krew.refusal(tmp_path / plugin_build.MANIFEST)


def test_the_installed_plugin_runs_and_is_completed_by_a_link_that_stands_alone(
    krew: Krew, built: Path, tmp_path: Path
) -> None:
    root = tmp_path / "krew"
    krew.install(built / plugin_build.MANIFEST, built / plugin_build.ARCHIVE, root)
    assert krew.kubectl("relay", "--version", root=root) == (
        f"kubectl relay {plugin_build.version()}\n"
    )
    # as the manifest's caveats say
    (installed,) = root.glob(f"store/relay/*/{plugin_build.COMPLETION}")
    links = tmp_path / "links"
    links.mkdir()
    (links / plugin_build.COMPLETION).symlink_to(installed)
    completed = krew.kubectl("__complete", "relay", "pl", root=root, path=links)
    assert completed.startswith("plan\t")
