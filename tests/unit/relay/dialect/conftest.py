"""Both scans of request bodies."""

import pytest
from tests.cluster.build import debian_packages
from tests.unit.relay.dialect.body_scans import BodyReader, Scan, loaded

from hatch_build import compile_body_scan
from relay.dialect import body_scan_pure


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> BodyReader:
    """The functions in C, built from these sources."""
    debian_packages.ensure_compiler(print)
    return loaded(compile_body_scan(tmp_path_factory.mktemp("body-scan")))


@pytest.fixture(scope="session")
def compiled_scan(compiled: BodyReader) -> Scan:
    """The scan in C."""
    return compiled.scan


@pytest.fixture(scope="session", params=["compiled", "pure"])
def scan(request: pytest.FixtureRequest) -> Scan:
    """Each of the two scans in turn."""
    if request.param == "pure":
        return body_scan_pure.scan
    compiled: Scan = request.getfixturevalue("compiled_scan")
    return compiled
