"""Fixtures for every suite: the session's cluster (created when the first test asks for it) and its clients."""

from hypothesis import settings

pytest_plugins = ("tests.cluster.session.fixtures",)

# no deadline: a timing claim is a benchmark, never a timed assertion
settings.register_profile("quick", max_examples=20, deadline=None)
settings.register_profile("thorough", max_examples=200, deadline=None)
settings.load_profile("quick")
