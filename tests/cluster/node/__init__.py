"""Inside a node: its namespaces, network, first process and components."""
