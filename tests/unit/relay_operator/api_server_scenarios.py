"""What the operator relies on of an API server, as scenarios with their answers.

A unit test runs them against the in-memory server, a contract test against a real one: both give the same answers.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import ApiServerRefused, Conflict

Manifest = dict[str, Any]
Answers = list[Any]
Scenario = Callable[[ApiServer, "Others", str], Awaitable[Answers]]

FINALIZER = f"{names.GROUP}/scenario"


class Others(Protocol):
    """Somebody else at the same API server."""

    async def apply(self, manifest: Manifest) -> None:
        """Applies on the server's side, with force, under a field manager that is not the operator's."""

    async def remove(self, kind: str, name: str, *, namespace: str = "") -> None:
        """Deletes the object without waiting for its end."""


def configmap(space: str, *, name: str = "c", data: Any, **metadata: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": space, **metadata},
        "data": data,
    }


def policy(space: str, *, port: int, **labels: str) -> Manifest:
    ingress = [{"ports": [{"protocol": "TCP", "port": port}]}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "n", "namespace": space, "labels": labels},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": ingress},
    }


def provider(space: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "Provider",
        "metadata": {"name": space},
        "spec": {"endpoint": {"url": "https://api.example.com/v1"}, **spec},
    }


async def outcome(call: Awaitable[Manifest | None]) -> Any:
    """Returns what came of a call: "ok", "none", "conflict" or the status of the refusal."""
    try:
        return "none" if await call is None else "ok"
    except Conflict:
        return "conflict"
    except ApiServerRefused as error:
        return error.status


def version(manifest: Manifest | None) -> int:
    assert manifest is not None
    return int(manifest["metadata"]["resourceVersion"])


async def create_is_refused_when_the_object_exists(
    api: ApiServer, others: Others, space: str
) -> Answers:
    manifest = configmap(space, data={"a": "1"})
    first = await outcome(api.create(manifest))
    return [first, await outcome(api.create(manifest))]


async def what_is_missing(api: ApiServer, others: Others, space: str) -> Answers:
    lost = configmap(f"{space}-nowhere", data={"a": "1"})
    return [
        await outcome(api.get("ConfigMap", "c", namespace=space)),
        await outcome(api.patch("ConfigMap", "c", {"data": {"a": "1"}}, namespace=space)),
        await outcome(api.create(lost)),
        await outcome(api.apply(lost)),
        await outcome(api.get("ConfigMap", "c", namespace=f"{space}-nowhere")),
    ]


async def metadata_is_listed_by_label(api: ApiServer, others: Others, space: str) -> Answers:
    for name, labels in (("a", {"scenario": space}), ("b", {"scenario": space}), ("c", {})):
        await api.create(configmap(space, name=name, data={"x": "1"}, labels=labels))
    listed = await api.list_metadata("ConfigMap", selector=f"scenario={space}")
    every = await api.list_metadata("ConfigMap")
    return [
        sorted((one["namespace"], one["name"], bool(one["uid"])) for one in listed),
        sorted(one["name"] for one in every if one["namespace"] == space and one["name"] in "abc"),
    ]


async def a_repeated_write_changes_no_version(
    api: ApiServer, others: Others, space: str
) -> Answers:
    manifest = configmap(space, data={"a": "1"}, labels={"app": "x"})
    first, again = await api.apply(manifest), await api.apply(manifest)
    patch = {"data": {"a": "2"}}
    patched = await api.patch("ConfigMap", "c", patch, namespace=space)
    repeated = await api.patch("ConfigMap", "c", patch, namespace=space)
    versions = [version(answer) for answer in (first, again, patched, repeated)]
    return [
        versions[1] == versions[0],
        versions[2] > versions[1],
        versions[3] == versions[2],
        first["metadata"]["uid"] == repeated["metadata"]["uid"],
    ]


async def a_field_no_longer_intended_is_removed(
    api: ApiServer, others: Others, space: str
) -> Answers:
    await api.apply(configmap(space, data={"a": "1", "b": "1"}, labels={"x": "1", "y": "1"}))
    after = await api.apply(configmap(space, data={"a": "2"}, labels={"y": "1"}))
    return [after["data"], after["metadata"]["labels"]]


async def fields_of_others_stay(api: ApiServer, others: Others, space: str) -> Answers:
    await api.apply(configmap(space, data={"a": "1", "b": "1"}))
    await others.apply(configmap(space, data={"x": "1"}, annotations={"note": "theirs"}))
    after = await api.apply(configmap(space, data={"a": "1"}))
    return [after["data"], after["metadata"]["annotations"]]


async def an_apply_takes_a_field_back(api: ApiServer, others: Others, space: str) -> Answers:
    await api.apply(configmap(space, data={"a": "1", "b": "1"}))
    await others.apply(configmap(space, data={"a": "theirs"}))
    theirs = await api.get("ConfigMap", "c", namespace=space)
    ours = await api.apply(configmap(space, data={"a": "1", "b": "1"}))
    return [(theirs or {})["data"], ours["data"]]


async def a_field_that_two_set_stays_when_one_drops_it(
    api: ApiServer, others: Others, space: str
) -> Answers:
    await api.apply(configmap(space, data={"a": "1", "b": "1"}))
    await others.apply(configmap(space, data={"b": "1"}))
    shared = await api.apply(configmap(space, data={"a": "1"}))
    return [shared["data"]]


async def a_field_that_others_took_is_not_removed_with_our_intent(
    api: ApiServer, others: Others, space: str
) -> Answers:
    await api.apply(configmap(space, data={"a": "1", "b": "1"}))
    await others.apply(configmap(space, data={"b": "theirs"}))
    after = await api.apply(configmap(space, data={"a": "1"}))
    return [after["data"]]


async def what_create_set_survives_an_apply_without_it(
    api: ApiServer, others: Others, space: str
) -> Answers:
    await api.create(configmap(space, data={"a": "1"}))
    after = await api.apply(configmap(space, data={"b": "1"}))
    return [after["data"]]


async def what_a_patch_set_survives_an_apply_without_it(
    api: ApiServer, others: Others, space: str
) -> Answers:
    await api.apply(configmap(space, data={"a": "1", "b": "1"}))
    await api.patch("ConfigMap", "c", {"data": {"b": "2", "p": "1"}}, namespace=space)
    after = await api.apply(configmap(space, data={"a": "1"}))
    return [after["data"]]


async def a_stale_version_is_a_conflict(api: ApiServer, others: Others, space: str) -> Answers:
    first = await api.apply(configmap(space, data={"a": "1"}))
    stale = first["metadata"]["resourceVersion"]
    current = await api.apply(configmap(space, data={"a": "2"}))
    patch = {"metadata": {"resourceVersion": stale}, "data": {"a": "3"}}
    patched = await outcome(api.patch("ConfigMap", "c", patch, namespace=space))
    applied = await outcome(api.apply(configmap(space, data={"a": "3"}, resourceVersion=stale)))
    fresh = {"metadata": {"resourceVersion": current["metadata"]["resourceVersion"]}}
    good = await outcome(
        api.patch("ConfigMap", "c", {**fresh, "data": {"a": "4"}}, namespace=space)
    )
    return [patched, applied, good]


async def a_merge_patch_removes_what_is_null(api: ApiServer, others: Others, space: str) -> Answers:
    await api.create(configmap(space, data={"a": "1", "b": "1"}, annotations={"x": "1", "y": "1"}))
    patch = {"data": {"a": None, "c": "1"}, "metadata": {"annotations": {"x": None, "z": "1"}}}
    after = await api.patch("ConfigMap", "c", patch, namespace=space)
    return [after["data"], after["metadata"]["annotations"]]


async def a_generation_counts_specs_only(api: ApiServer, others: Others, space: str) -> Answers:
    answers = [
        await api.apply(policy(space, port=80)),
        await api.apply(policy(space, port=80, app="x")),
        await api.apply(policy(space, port=81, app="x")),
    ]
    counted = [answer["metadata"]["generation"] for answer in answers]
    configs = await api.apply(configmap(space, data={"a": "1"}))
    return [
        *counted,
        version(answers[1]) > version(answers[0]),
        configs["metadata"].get("generation"),
    ]


async def status_and_the_rest_are_written_apart(
    api: ApiServer, others: Others, space: str
) -> Answers:
    async def patch(body: Manifest, subresource: str = "") -> Manifest:
        return await api.patch("Provider", space, body, subresource=subresource)

    created = await api.create({**provider(space), "status": {"tenants": 9}})
    both = {"spec": {"headers": {"x": "1"}}, "status": {"tenants": 1, "url": "u"}}
    status = await patch(both, "status")
    again = await patch(both, "status")
    spec = await patch(both)
    without = await patch({"status": {"url": None}}, "status")
    answers = [created, status, again, spec, without]
    return [
        [answer["status"] for answer in answers],
        ["headers" in answer["spec"] for answer in answers],
        [answer["metadata"]["generation"] for answer in answers],
        version(status) > version(created),
        version(again) == version(status),
    ]


async def a_finalizer_holds_what_is_deleted(api: ApiServer, others: Others, space: str) -> Answers:
    await api.create(configmap(space, data={"a": "1"}, finalizers=[FINALIZER]))
    await others.remove("ConfigMap", "c", namespace=space)
    held = await api.get("ConfigMap", "c", namespace=space)
    await api.patch("ConfigMap", "c", {"metadata": {"finalizers": None}}, namespace=space)
    return [
        "deletionTimestamp" in (held or {})["metadata"],
        await outcome(api.get("ConfigMap", "c", namespace=space)),
    ]


async def nothing_is_created_in_a_namespace_that_is_deleted(
    api: ApiServer, others: Others, space: str
) -> Answers:
    going = f"{space}-going"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": going}}
    created = await api.create(namespace)
    await api.create(configmap(going, data={"a": "1"}, finalizers=[FINALIZER]))
    await others.remove("Namespace", going)
    found = await api.get("Namespace", going)
    refused = await outcome(api.create(configmap(going, name="d", data={"a": "1"})))
    await api.patch("ConfigMap", "c", {"metadata": {"finalizers": None}}, namespace=going)
    return [
        created["metadata"]["labels"],
        "deletionTimestamp" in (found or {})["metadata"],
        (found or {})["status"]["phase"],
        refused,
    ]


UNSEEN = {"observedGeneration": -1}
NEW_STATUS = UNSEEN | {"tenants": 1, "url": "u"}


def expected(space: str) -> dict[Scenario, Answers]:
    """Returns every scenario with its answers in a namespace of that name."""
    going = {names.LABEL_NAMESPACE_NAME: f"{space}-going"}
    return {
        create_is_refused_when_the_object_exists: ["ok", "conflict"],
        what_is_missing: ["none", 404, 404, 404, "none"],
        metadata_is_listed_by_label: [
            [(space, "a", True), (space, "b", True)],
            ["a", "b", "c"],
        ],
        a_repeated_write_changes_no_version: [True, True, True, True],
        a_field_no_longer_intended_is_removed: [{"a": "2"}, {"y": "1"}],
        fields_of_others_stay: [{"a": "1", "x": "1"}, {"note": "theirs"}],
        an_apply_takes_a_field_back: [{"a": "theirs", "b": "1"}, {"a": "1", "b": "1"}],
        a_field_that_two_set_stays_when_one_drops_it: [{"a": "1", "b": "1"}],
        a_field_that_others_took_is_not_removed_with_our_intent: [{"a": "1", "b": "theirs"}],
        what_create_set_survives_an_apply_without_it: [{"a": "1", "b": "1"}],
        what_a_patch_set_survives_an_apply_without_it: [{"a": "1", "b": "2", "p": "1"}],
        a_stale_version_is_a_conflict: ["conflict", "conflict", "ok"],
        a_merge_patch_removes_what_is_null: [{"b": "1", "c": "1"}, {"y": "1", "z": "1"}],
        a_generation_counts_specs_only: [1, 1, 2, True, None],
        status_and_the_rest_are_written_apart: [
            [UNSEEN, NEW_STATUS, NEW_STATUS, NEW_STATUS, UNSEEN | {"tenants": 1}],
            [False, False, False, True, True],
            [1, 1, 1, 2, 2],
            True,
            True,
        ],
        a_finalizer_holds_what_is_deleted: [True, "none"],
        nothing_is_created_in_a_namespace_that_is_deleted: [going, True, "Terminating", 403],
    }
