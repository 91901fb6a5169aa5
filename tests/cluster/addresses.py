"""Addresses of clusters, without I/O.

Every cluster has its own network namespace, so pods and services use the same ranges in all of them; only the
link between the host and a cluster must differ. Those links are /30 networks of TEST-NET-2 (RFC 5737), which
no real network uses.
"""

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

from tests.cluster.errors import ClusterError

POD_CIDR = "10.244.0.0/16"
NODE_POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
DNS_DOMAIN = "cluster.local"
"""Of a cluster whose configuration names no other."""
FAKE_POD_CIDR = "10.200.0.0/16"
FAKE_NODE_ADDRESS = "198.51.100.254"

LINKS = ipaddress.ip_network("198.51.100.0/24")
MAX_CLUSTERS = 62
"""The first /30 stays free (it holds the network address), the last belongs to FAKE_NODE_ADDRESS."""

OUTSIDE_CIDR = "203.0.113.0/24"
OUTSIDE_GATEWAY = "203.0.113.1"
OUTSIDE_ADDRESS = "203.0.113.10"
"""Stands for the internet (TEST-NET-3, RFC 5737): an HTTP server of ours, and the cluster's default route."""


@dataclass(frozen=True, slots=True)
class Link:
    """The two ends of the veth pair between the host and a cluster."""

    host_interface: str
    host_address: str
    node_address: str
    prefix_length: int = 30


INTERFACE = "rk-veth"
"""The host's end of a link is called this and the cluster's index."""


def link(index: int) -> Link:
    """Returns the link of the cluster with this index, 1 to MAX_CLUSTERS."""
    if not 1 <= index <= MAX_CLUSTERS:
        raise ValueError(f"cluster index {index} is outside 1..{MAX_CLUSTERS}")
    first = LINKS.network_address + 4 * index
    return Link(
        # an interface name has at most 15 characters (IFNAMSIZ)
        host_interface=f"{INTERFACE}{index}",
        host_address=str(first + 1),
        node_address=str(first + 2),
    )


def free_index(taken: Collection[int]) -> int:
    """Returns the lowest index that no cluster uses; raises ClusterError if there is none."""
    for index in range(1, MAX_CLUSTERS + 1):
        if index not in taken:
            return index
    raise ClusterError(
        f"all {MAX_CLUSTERS} cluster networks are in use: delete a cluster first (get clusters lists them)"
    )
