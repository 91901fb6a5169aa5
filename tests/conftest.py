"""Fixtures for every suite: the session's cluster (created when the first test asks for it) and its clients."""

import gc
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.cluster.session.fixtures",)

# neither deadline nor too_slow: a timing claim is a benchmark, never a timed assertion
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("untimed"), max_examples=20)
settings.register_profile("thorough", settings.get_profile("untimed"), max_examples=75)
settings.register_profile("longest", settings.get_profile("untimed"), max_examples=1000)
settings.load_profile("quick")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keeps the garbage collector from walking, again and again, over modules and tests, which stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
