"""A relay pod as the operator knows it."""

from relay_operator.cluster.relays import Pod


def a_pod(ip: str = "10.0.0.1") -> Pod:
    """Returns a pod of the tenant finance that is ready."""
    return Pod(
        namespace="relay-finance",
        name="relay-1",
        uid="u",
        ip=ip,
        incarnation=0,
        ready=True,
        terminating=False,
    )
