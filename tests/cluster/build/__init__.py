"""Programs and packages that a cluster is made of."""
