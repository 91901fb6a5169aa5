"""What every suite may use: the session's cluster (made when the first test asks for it) and its clients."""

pytest_plugins = ("tests.cluster.fixtures",)
