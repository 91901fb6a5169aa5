"""Each intent of an object is queued exactly once, in whatever way and order its states come to be known."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay_operator.api.relay_route import RelayRoute
from relay_operator.api.tenant import Tenant
from relay_operator.reconcile.watched_objects import WatchedObjects


def test_of_what_others_write_on_an_object_nothing_is_kept() -> None:
    """Who may write routes can write a MiB of labels and a quarter of one of annotations on each."""
    routes = WatchedObjects(RelayRoute.parse)
    asked = {"relay-operator.dev/retry": "3f2a"}
    metadata = {
        "name": "chat",
        "namespace": "relay-finance",
        "uid": "u-1",
        "generation": 1,
        "labels": {f"l{number}": "x" * 63 for number in range(100)},
        "annotations": {"notes": "planted " * 1000} | asked,
        "managedFields": [{"manager": "planted"}],
    }
    for version, spec in enumerate(({"stable": {"provider": "legacy"}}, {"stable": 3})):
        body = {"metadata": {**metadata, "resourceVersion": str(version)}, "spec": spec}
        assert routes.take_in(body, deleted=False) == (version == 0)
        kept = routes.get("chat", namespace="relay-finance")
        assert kept is not None
        found = kept.resource
        annotations = (
            found.metadata.annotations if isinstance(found, RelayRoute) else found.annotations
        )
        assert annotations == asked
        assert "planted" not in repr(kept)
        assert "x" * 63 not in repr(kept)
        metadata["generation"] = 1


CHANGES = ("spec", "status", "made again")
WAYS = ("event", "listed, then event", "lost", "listed again")


class Cluster:
    """One Tenant over time, and what is told of it to the watched objects."""

    def __init__(self) -> None:
        self.watched = WatchedObjects(Tenant.parse)
        self.queued: list[tuple[str, int]] = []
        self.late: list[dict[str, Any]] = []
        self._version = self._incarnation = self._generation = 1

    @property
    def body(self) -> dict[str, Any]:
        metadata = {
            "name": "finance",
            "uid": f"uid-{self._incarnation}",
            "generation": self._generation,
            "resourceVersion": str(self._version),
        }
        return {"metadata": metadata, "spec": {}, "status": {"seen": self._version}}

    @property
    def intent(self) -> tuple[str, int]:
        return f"uid-{self._incarnation}", self._generation

    def change(self, how: str) -> None:
        if how == "made again":
            self._version += 1
            self.late.append(self.body)
            self._incarnation, self._generation = self._incarnation + 1, 1
        elif how == "spec":
            self._generation += 1
        self._version += 1

    def tell(self, way: str) -> None:
        """Delivers the present state, unless it is lost; a list is followed by the event of what it showed."""
        if way == "lost":
            return
        if way != "event":
            self.watched.store(self.body)
        if self.watched.take_in(self.body, deleted=False):
            self.queued.append(self.intent)

    def tell_deletions(self) -> None:
        """Delivers the ends of earlier objects of the name; kopf orders nothing between two UIDs."""
        while self.late:
            self.watched.take_in(self.late.pop(), deleted=True)


@given(
    st.lists(st.tuples(st.sampled_from(CHANGES), st.sampled_from(WAYS), st.booleans()), max_size=12)
)
def test_an_intent_is_queued_once_and_the_last_one_always(
    steps: list[tuple[str, str, bool]],
) -> None:
    cluster = Cluster()
    cluster.tell("event")
    for change, way, ends_at_once in steps:
        cluster.change(change)
        if ends_at_once:
            cluster.tell_deletions()
        cluster.tell(way)
    cluster.tell_deletions()
    cluster.tell("listed again")
    assert len(cluster.queued) == len(set(cluster.queued))
    assert cluster.queued[-1] == cluster.intent
    watched = cluster.watched.get("finance")
    assert watched is not None
    assert watched.body["metadata"] == cluster.body["metadata"]
    assert watched.body["status"] == cluster.body["status"]


@given(st.permutations([3, 4, 5, 6]))
def test_the_newest_state_stays_whatever_is_shown_later(order: list[int]) -> None:
    watched = WatchedObjects(Tenant.parse)
    for version in order:
        metadata = {"name": "finance", "uid": "u", "resourceVersion": str(version)}
        watched.store({"metadata": metadata, "status": {"version": version}})
    kept = watched.get("finance")
    assert kept is not None
    assert kept.body["status"] == {"version": 6}


def test_an_object_is_queued_again_after_it_was_deleted_and_made_anew() -> None:
    cluster = Cluster()
    cluster.tell("event")
    cluster.watched.take_in(cluster.body, deleted=True)
    assert cluster.watched.get("finance") is None
    assert cluster.watched.names() == ()
    assert cluster.watched.take_in(cluster.body, deleted=False)


def test_what_a_status_says_is_kept_once_and_packed() -> None:
    watched = WatchedObjects(RelayRoute.parse)
    spec = {"stable": {"provider": "p"}}
    status = {"conditions": [{"type": "Ready", "message": "all traffic is on stable"}]}
    for version in ("1", "2"):
        metadata = {"name": "one", "uid": "u", "generation": 1, "resourceVersion": version}
        body = {"metadata": metadata, "spec": spec, "status": {**status, "version": version}}
        watched.take_in(json.loads(json.dumps(body)), deleted=False)
    kept = watched.get("one")
    assert kept is not None
    assert kept.status == {**status, "version": "2"}
    assert isinstance(kept.resource, RelayRoute)
    assert not kept.resource.status
