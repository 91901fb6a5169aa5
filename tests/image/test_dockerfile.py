"""The Dockerfile, built with buildah, gives what clusters get in the tests: the same files, the same configuration.

The base is not the same: the image of the tests has Debian's Python without a shell and apt, that of the Dockerfile all of
debian:bookworm-slim. It is made from Debian's archive here, so that no registry of images is asked.
"""

from pathlib import PurePosixPath

import pytest
from tests.cluster.images import archive, catalogue
from tests.image import by_dockerfile

ADDED_BY_PIP = {"INSTALLER", "REQUESTED", "direct_url.json"}
"""Of the wheel that is unpacked by pip there, and by hand in the image of the tests."""
DIFFERENT = {
    "RECORD": "has those and the launchers, in another order",
    "WHEEL": "of the relay-operator says whether it was compiled",
    "relay": "is a launcher, which each installer words in its own way",
    "relay-ledger": "as above",
    "relay-operator": "as above",
    "sbom.cdx.json": "names the packages of another base",
}
"""By name, why a file has another content."""


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    found: dict[str, str] = by_dockerfile.contents()["files"]
    return found


@pytest.fixture(scope="module")
def packed() -> dict[str, str]:
    """Returns the files of the image of the tests but for what was compiled: the Dockerfile is built without."""
    found: dict[str, str] = {}
    for layer in catalogue.relay_operator().layers[1:]:
        found |= by_dockerfile.listed(layer.path, by_dockerfile.ROOT)
    return {name: digest for name, digest in found.items() if not is_compiled(name)}


def is_compiled(name: str) -> bool:
    path = PurePosixPath(name)
    ours = path.parts[5:6] in (("relay",), ("relay_operator",), ("relay_contract",))
    return path.suffix == ".so" and (ours or "__mypyc." in path.name)


@pytest.mark.timeout(1800)
def test_it_has_the_files_of_the_image_of_the_tests(
    built: dict[str, str], packed: dict[str, str]
) -> None:
    more = {PurePosixPath(name).name for name in built.keys() - packed.keys()}
    assert more <= ADDED_BY_PIP
    assert packed.keys() - built.keys() == set()
    different = {name for name in packed if packed[name] != built[name]}
    assert {PurePosixPath(name).name for name in different} <= DIFFERENT.keys()
    assert sum(name.endswith("/WHEEL") for name in different) <= 1


@pytest.mark.timeout(1800)
def test_it_runs_as_the_image_of_the_tests_does() -> None:
    config = by_dockerfile.contents()["config"]
    image: archive.Image = catalogue.relay_operator()
    assert config["User"] == image.user
    assert tuple(config["Cmd"]) == image.command
    assert sorted(config["Env"]) == sorted(image.environment)
