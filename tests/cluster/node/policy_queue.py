"""Packet rules that send new connections of pods to the NetworkPolicy engine.

mangle POSTROUTING comes after the Service's address translation and before masquerading, so the engine sees real pod
addresses; INPUT covers connections of pods to the node itself (the API server). There is no queue bypass: while the
engine is down, new connections are dropped. Established connections are not checked again.
"""

from tests.cluster.addresses import POD_CIDR
from tests.cluster.node.components import POLICY_QUEUE


def rules() -> str:
    """Returns the rules as input for `iptables-restore --noflush`."""
    judge = f"-m conntrack --ctstate NEW -j NFQUEUE --queue-num {POLICY_QUEUE}"
    lines = (
        "*mangle",
        ":POLICY-POSTROUTING - [0:0]",
        ":POLICY-INPUT - [0:0]",
        "-A POSTROUTING -j POLICY-POSTROUTING",
        "-A INPUT -j POLICY-INPUT",
        # processes of the node (kubelet's probes, the API server's proxy) always reach pods, as on every Kubernetes
        "-A POLICY-POSTROUTING -m addrtype --src-type LOCAL -j RETURN",
        f"-A POLICY-POSTROUTING -s {POD_CIDR} {judge}",
        f"-A POLICY-POSTROUTING -d {POD_CIDR} {judge}",
        f"-A POLICY-INPUT -s {POD_CIDR} {judge}",
        "COMMIT",
        "",
    )
    return "\n".join(lines)
