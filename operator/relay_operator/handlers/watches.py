"""What kopf lists and watches, handed to the handlers at once, one object after the other.

kopf's own way from a watch to a handler starts a task for each object, with a queue that lives a second longer, and takes a
millisecond: it keeps slow handlers of one object apart from those of others, tries them again, and gives them views of the object.
Ours take in and enqueue. A start lists fourteen objects for each tenant, and that way took half of its processor time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import kopf
from kopf._cogs.clients.watching import Bookmark, infinite_watch

from relay_operator import names
from relay_operator.handlers import owned_objects, resources
from relay_operator.handlers.context import Context

logger = logging.getLogger(__name__)

Handler = Callable[..., Awaitable[None]]

_BOOKMARK: Final = "BOOKMARK"
_CLUSTER_SCOPED: Final = frozenset({"tenants", "providers", "toolservers", "namespaces"})


def watched() -> dict[kopf.Resource, Handler]:
    """Returns what is watched, each with its handler."""
    ours = ((names.GROUP, names.VERSION, plural, seen) for plural, seen in resources.SEEN.items())
    children = (
        (group, version, plural, owned_objects.child_seen)
        for group, version, plural in owned_objects.CHILDREN
    )
    pods = ("", "v1", owned_objects.PODS, owned_objects.pod_seen)
    return {
        kopf.Resource(group, version, plural, namespaced=plural not in _CLUSTER_SCOPED): seen
        for group, version, plural, seen in (*ours, *children, pods)
    }


async def follow(
    resource: kopf.Resource, seen: Handler, *, settings: kopf.OperatorSettings, context: Context
) -> None:
    """Hands everything to the handler that a list or a watch shows, until cancelled; raises what kopf does not try again.

    What a handler cannot take in costs that event alone.
    """
    async for event in infinite_watch(settings=settings, resource=resource, namespace=None):
        if isinstance(event, Bookmark) or event["type"] == _BOOKMARK:
            continue
        body: Any = event["object"]
        try:
            await seen(body=body, type=event["type"], memo=context)
        except Exception:  # whatever an object is like, the others go on
            logger.exception("an object was not taken in", extra=_told(resource, body))
        # a page of a list comes at once, and others have their turns meanwhile
        await asyncio.sleep(0)


def _told(resource: kopf.Resource, body: Any) -> dict[str, str]:
    metadata = body.get("metadata") or {}
    return {
        "resource": resource.plural,
        "namespace": str(metadata.get("namespace", "")),
        "object": str(metadata.get("name", "")),
    }
