"""The addresses that a relay pod must not reach, as targets of a probe."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import ValidationError

from relay_contract.endpoints import ADMIN_PORT, TRAFFIC_PORT
from relay_contract.isolation_probe import (
    DECOY_PORT,
    KUBELET_PORT,
    MAX_TARGETS,
    METADATA_ADDRESSES,
    METADATA_PORT,
    Target,
    TargetKind,
)
from relay_operator.manifests import reach
from relay_operator.manifests.environment import Upstream

_Place = tuple[TargetKind, str, int, bool]
"""Kind, address and port of a target, and whether it is permitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A relay pod of another tenant, with the address of its node, and that tenant's Service as it is in the cluster."""

    namespace: str
    address: str
    host_address: str = ""
    service: Mapping[str, Any] | None = None

    @property
    def service_addresses(self) -> tuple[str, ...]:
        found = (self.service or {}).get("spec", {}).get("clusterIPs") or ()
        return tuple(one for one in found if one != "None")

    @property
    def node_port(self) -> int | None:
        ports = (self.service or {}).get("spec", {}).get("ports") or ()
        return next((one["nodePort"] for one in ports if one.get("nodePort")), None)


def of_service(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns of a Service what a Neighbour looks at: one is kept for each tenant."""
    spec = body.get("spec") or {}
    node_ports = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    kept = {
        "clusterIPs": tuple(spec.get("clusterIPs") or ()),
        "ports": tuple({"nodePort": one} for one in node_ports),
    }
    return {"spec": kept}


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """Holds what stands around a relay pod. api_server is the address and port that every pod is told for it.

    cluster_cidrs are the addresses that the platform has named as the cluster's own, which no policy opens.
    """

    decoys: Sequence[str]
    api_server: tuple[str, int] | None
    neighbours: Sequence[Neighbour]
    cluster_cidrs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Aim:
    """A target. permitted tells that a connection to it is no sign of policies that are not enforced."""

    target: Target
    permitted: bool

    @property
    def place(self) -> str:
        """The address and port as a person writes them."""
        host = self.target.address
        return f"[{host}]:{self.target.port}" if ":" in host else f"{host}:{self.target.port}"


def aims(
    around: Around, upstreams: Iterable[Upstream], *, own_host_address: str
) -> tuple[Aim, ...]:
    """Returns what a relay pod is to try. own_host_address is that of its node, which Kubernetes lets every pod reach.

    An address that no target can have is left out: whoever may write the status of a pod can claim any.
    """
    known = tuple(upstreams)
    places = [*_of_the_platform(around, known), *_of_neighbours(around, known, own_host_address)]
    found: dict[tuple[str, int], Aim] = {}
    for kind, address, port, permitted in places:
        try:
            target = Target(kind=kind, address=address, port=port)
        except ValidationError:
            continue
        found.setdefault((address, port), Aim(target, permitted))
    return tuple(found.values())[:MAX_TARGETS]


def _of_the_platform(around: Around, upstreams: tuple[Upstream, ...]) -> Iterator[_Place]:
    lets_out = partial(reach.lets_out, upstreams, cluster_cidrs=around.cluster_cidrs)
    for address in around.decoys:
        permitted = lets_out(address, DECOY_PORT)
        yield TargetKind.DECOY, address, DECOY_PORT, permitted
    if around.api_server is not None:
        address, port = around.api_server
        # its Service may lead to a public address, which an upstream of any public address opens as well, unless the platform
        # has named the cluster's addresses
        permitted = lets_out(address, port) or (
            reach.opens_the_world(upstreams)
            and not reach.is_of_cluster(address, around.cluster_cidrs)
        )
        yield TargetKind.API_SERVER, address, port, permitted
    for address in METADATA_ADDRESSES:
        permitted = lets_out(address, METADATA_PORT)
        yield TargetKind.METADATA, address, METADATA_PORT, permitted


def _of_neighbours(
    around: Around, upstreams: tuple[Upstream, ...], own_host_address: str
) -> Iterator[_Place]:
    lets_out = partial(reach.lets_out, upstreams, cluster_cidrs=around.cluster_cidrs)
    for neighbour in around.neighbours:
        space, host = neighbour.namespace, neighbour.host_address
        for address, port in (
            (neighbour.address, ADMIN_PORT),
            (neighbour.address, TRAFFIC_PORT),
            *((service, TRAFFIC_PORT) for service in neighbour.service_addresses),
        ):
            permitted = lets_out(address, port, namespace=space)
            yield TargetKind.NEIGHBOUR, address, port, permitted
        if not host:
            continue
        permitted = host == own_host_address or lets_out(host, KUBELET_PORT)
        yield TargetKind.NODE, host, KUBELET_PORT, permitted
        if neighbour.node_port is not None:
            # translated to the pod behind it before a policy is asked
            permitted = lets_out(host, neighbour.node_port) or lets_out(
                neighbour.address, TRAFFIC_PORT, namespace=space
            )
            yield TargetKind.NODE_PORT, host, neighbour.node_port, permitted
