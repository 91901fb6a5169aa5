"""Fixtures for every suite: the session's cluster (created when the first test asks for it) and its clients."""

from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.cluster.session.fixtures",)

# neither deadline nor too_slow: a timing claim is a benchmark, never a timed assertion
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("untimed"), max_examples=20)
settings.register_profile("thorough", settings.get_profile("untimed"), max_examples=75)
settings.register_profile("longest", settings.get_profile("untimed"), max_examples=1000)
settings.load_profile("quick")
