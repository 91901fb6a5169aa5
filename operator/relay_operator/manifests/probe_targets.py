"""The addresses that a relay pod must not reach, as targets of a probe."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What stands around a relay pod. api_server is the address and port that every pod is told for it."""

    decoys: Sequence[str]
    api_server: tuple[str, int] | None
    neighbours: Sequence[Neighbour]


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
    """Returns what a relay pod is to try. own_host_address is that of its node, which Kubernetes lets every pod reach."""
    known = tuple(upstreams)
    found = [
        _aim(TargetKind.DECOY, address, DECOY_PORT, reach.lets_out(known, address, DECOY_PORT))
        for address in around.decoys
    ]
    if around.api_server is not None:
        address, port = around.api_server
        # its Service may lead to a public address, which an upstream of any public address opens as well
        permitted = reach.lets_out(known, address, port) or reach.opens_the_world(known)
        found.append(_aim(TargetKind.API_SERVER, address, port, permitted))
    found += [
        _aim(TargetKind.METADATA, one, METADATA_PORT, reach.lets_out(known, one, METADATA_PORT))
        for one in METADATA_ADDRESSES
    ]
    for neighbour in around.neighbours:
        found += _of_neighbour(neighbour, known, own_host_address)
    unique = {(aim.target.address, aim.target.port): aim for aim in found}
    return tuple(unique.values())[:MAX_TARGETS]


def _of_neighbour(
    neighbour: Neighbour, upstreams: tuple[Upstream, ...], own_host_address: str
) -> list[Aim]:
    space, host = neighbour.namespace, neighbour.host_address
    found = [
        _aim(
            TargetKind.NEIGHBOUR,
            address,
            port,
            reach.lets_out(upstreams, address, port, namespace=space),
        )
        for address, port in (
            (neighbour.address, ADMIN_PORT),
            (neighbour.address, TRAFFIC_PORT),
            *((service, TRAFFIC_PORT) for service in neighbour.service_addresses),
        )
    ]
    if host:
        permitted = host == own_host_address or reach.lets_out(upstreams, host, KUBELET_PORT)
        found.append(_aim(TargetKind.NODE, host, KUBELET_PORT, permitted))
    if host and neighbour.node_port is not None:
        # translated to the pod behind it before a policy is asked
        permitted = reach.lets_out(upstreams, host, neighbour.node_port) or reach.lets_out(
            upstreams, neighbour.address, TRAFFIC_PORT, namespace=space
        )
        found.append(_aim(TargetKind.NODE_PORT, host, neighbour.node_port, permitted))
    return found


def _aim(kind: TargetKind, address: str, port: int, permitted: bool) -> Aim:
    return Aim(Target(kind=kind, address=address, port=port), permitted)
