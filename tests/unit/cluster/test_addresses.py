"""Clusters on one machine never share an address or an interface name."""

import ipaddress

import pytest
from tests.cluster import addresses
from tests.cluster.errors import ClusterError

INDICES = range(1, addresses.MAX_CLUSTERS + 1)


def test_links_are_distinct_networks_inside_the_documentation_range() -> None:
    networks = set()
    for index in INDICES:
        link = addresses.link(index)
        host = ipaddress.ip_interface(f"{link.host_address}/{link.prefix_length}")
        node = ipaddress.ip_interface(f"{link.node_address}/{link.prefix_length}")
        assert host.network == node.network
        assert {host.ip, node.ip} == set(host.network.hosts())
        networks.add(host.network)
    assert len(networks) == addresses.MAX_CLUSTERS
    assert all(network.subnet_of(addresses.LINKS) for network in networks)  # type: ignore[arg-type]


def test_no_link_holds_the_address_of_fake_nodes() -> None:
    fake = ipaddress.ip_address(addresses.FAKE_NODE_ADDRESS)
    last = addresses.link(addresses.MAX_CLUSTERS)
    assert fake not in ipaddress.ip_interface(f"{last.node_address}/30").network


def test_interface_names_fit_the_kernel_and_are_distinct() -> None:
    names = {addresses.link(index).host_interface for index in INDICES}
    assert len(names) == addresses.MAX_CLUSTERS
    assert max(map(len, names)) <= 15


@pytest.mark.parametrize("index", [0, addresses.MAX_CLUSTERS + 1, -1])
def test_an_index_outside_the_range_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        addresses.link(index)


@pytest.mark.parametrize(
    ("taken", "free"), [(set(), 1), ({1, 2}, 3), ({2, 3}, 1), ({1, 3}, 2), ({1, 99}, 2)]
)
def test_the_lowest_free_index_is_given(taken: set[int], free: int) -> None:
    assert addresses.free_index(taken) == free


def test_when_all_networks_are_taken_the_message_says_what_to_do() -> None:
    with pytest.raises(ClusterError, match="delete a cluster first"):
        addresses.free_index(set(INDICES))


def test_pod_service_and_outside_ranges_do_not_overlap() -> None:
    ranges = [
        ipaddress.ip_network(text)
        for text in (
            addresses.POD_CIDR,
            addresses.SERVICE_CIDR,
            addresses.FAKE_POD_CIDR,
            addresses.OUTSIDE_CIDR,
        )
    ]
    ranges.append(addresses.LINKS)
    for number, one in enumerate(ranges):
        assert not any(one.overlaps(other) for other in ranges[number + 1 :])
