"""Both scans of request bodies."""

import pytest
from tests.unit.relay.dialect.body_scans import BodyReader, Members, Removal, Scan

from relay.dialect import body_scan_pure, parameter_removal_pure


@pytest.fixture(scope="session")
def compiled_scan(compiled: BodyReader) -> Scan:
    """The scan in C."""
    return compiled.scan


@pytest.fixture(scope="session")
def compiled_removal(compiled: BodyReader) -> Removal:
    """The removal of parameters in C."""
    return compiled.without


@pytest.fixture(scope="session", params=["compiled", "pure"])
def removal(request: pytest.FixtureRequest) -> Removal:
    """Each of the two removals in turn."""
    if request.param == "pure":
        return parameter_removal_pure.without
    compiled: Removal = request.getfixturevalue("compiled_removal")
    return compiled


@pytest.fixture(scope="session", params=["compiled", "pure"])
def scan(request: pytest.FixtureRequest) -> Scan:
    """Each of the two scans in turn."""
    if request.param == "pure":
        return body_scan_pure.scan
    compiled: Scan = request.getfixturevalue("compiled_scan")
    return compiled


@pytest.fixture(scope="session", params=["compiled", "pure"])
def members(request: pytest.FixtureRequest) -> Members:
    """Each of the two readings of members in turn."""
    if request.param == "pure":
        return parameter_removal_pure.members
    compiled: BodyReader = request.getfixturevalue("compiled")
    return compiled.members
