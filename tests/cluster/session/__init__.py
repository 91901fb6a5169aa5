"""A cluster for a session of tests: which one, its fixtures and its clients."""
