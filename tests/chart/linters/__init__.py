"""The linters of the chart, each installed once into the cache, by its version."""
