"""Which child events mean that somebody else changed something."""

from typing import Any

from relay_operator.cluster.owned_objects import OwnedObjects


class WritingApi:
    """An API server that accepts every apply and counts versions, as the real one does."""

    def __init__(self) -> None:
        self.version = 100
        self.applied: list[dict[str, Any]] = []

    async def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.applied.append(manifest)
        metadata = {**manifest["metadata"], "resourceVersion": str(self.version), "generation": 1}
        return {**manifest, "metadata": metadata}


def a_configmap(value: str = "x") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "n"},
        "data": {"k": value},
    }


def seen(version: int, **annotations: str) -> dict[str, Any]:
    body = a_configmap()
    body["metadata"] |= {"resourceVersion": str(version), "annotations": annotations}
    return body


def children_over(api: WritingApi) -> OwnedObjects:
    return OwnedObjects(api)  # type: ignore[arg-type]  # the one method it calls


async def test_an_unchanged_child_costs_no_write() -> None:
    api = WritingApi()
    children = children_over(api)
    assert [await children.apply(a_configmap()), await children.apply(a_configmap())] == [
        True,
        False,
    ]
    assert await children.apply(a_configmap("y"))
    assert len(api.applied) == 2


async def test_a_restarted_operator_trusts_the_hash_on_the_child() -> None:
    api = WritingApi()
    await children_over(api).apply(a_configmap())
    digest = api.applied[0]["metadata"]["annotations"]
    successor = children_over(api)
    assert not successor.observe(seen(101, **digest), deleted=False)
    assert not await successor.apply(a_configmap())


async def test_our_own_write_echoed_by_the_watch_is_no_change() -> None:
    children = children_over(WritingApi())
    await children.apply(a_configmap())
    assert not children.observe(seen(101), deleted=False)
    assert not children.observe(seen(99), deleted=False)


async def test_a_foreign_edit_stays_foreign_whatever_the_watch_tells_next() -> None:
    api = WritingApi()
    children = children_over(api)
    await children.apply(a_configmap())
    digest = api.applied[0]["metadata"]["annotations"]
    assert children.observe(seen(150, **digest), deleted=False)
    children.observe(seen(151, **digest), deleted=False)
    assert await children.apply(a_configmap())


async def test_a_foreign_edit_or_deletion_makes_the_next_apply_write() -> None:
    children = children_over(WritingApi())
    await children.apply(a_configmap())
    assert children.observe(seen(150), deleted=False)
    assert await children.apply(a_configmap())
    assert children.observe(seen(151), deleted=True)
    assert await children.apply(a_configmap())
