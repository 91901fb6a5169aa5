"""A real one-node Kubernetes without Docker, behind kind's command line.

`tests/cluster/kind` is the command; `python -m tests.cluster` is the same. Everything of a running cluster lives in
one private set of namespaces plus one state directory and one directory per cgroup hierarchy, so that ending the
first process of that set ends the cluster. Addresses are IPv4 only.
"""
