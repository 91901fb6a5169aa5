"""The kubelet's refresh of what relay pods mount: at once instead of within a minute."""

from collections.abc import Iterable

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.relays import Pod
from relay_operator.errors import ApiServerRefused


async def refresh(api: ApiServer, pods: Iterable[Pod], mark: str) -> None:
    """Changes an annotation of each pod, which makes its kubelet look; the same mark again changes nothing."""
    patch = {"metadata": {"annotations": {names.ANNOTATION_NUDGE: mark}}}
    for pod in pods:
        try:
            await api.patch("Pod", pod.name, patch, namespace=pod.namespace)
        except ApiServerRefused as error:
            if error.status != 404:
                raise
