"""Whatever happens in a row, followed by quiet: children are as desired, every status is true, and no weight was too high.

The end is judged by what the cluster holds and by what a further operator, which remembers nothing, would change.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import example, given, note, settings
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.any_sequence import (
    Play,
    Step,
    report_all_but_death,
    steps,
)
from tests.unit.relay_operator.reconcile.scenes import SPACE, with_a_tenant
from tests.unit.relay_operator.reconcile.test_repairs import without_an_owner
from tests.unit.relay_operator.surroundings import PLATFORM, SIGNING_KEY, SYSTEM
from tests.unit.relay_operator.virtual_time import VirtualTimeLoop

from relay_contract import document, endpoints, seal
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster import key_secrets
from relay_operator.decisions.api_keys.in_force import digest_of
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composable, namespace, policies, workload
from relay_operator.names import Reason

Manifest = dict[str, Any]
_LOOK_SECONDS = 0.4
_OURS = ("Tenant", "Provider", "RelayRoute")
_ORPHANED: list[Step] = [
    ("hold", ("Tenant", "finance")),
    ("release",),
    ("edit", ("Namespace", SPACE, without_an_owner)),
]
"""The Tenant goes, and the garbage collector finds no owner of its namespace any more."""


def valid(kind: str, body: Manifest) -> Any:
    """Returns the parsed object; None where its spec cannot be used."""
    parse: dict[str, Callable[[Manifest], Any]] = {"Tenant": composable.tenant, "Provider": composable.provider, "RelayRoute": composable.route}  # fmt: skip
    try:
        return parse[kind](body)
    except InvalidSpec:
        return None


def ready(body: Manifest, type_: str = "Ready") -> tuple[str, str]:
    conditions = {one["type"]: one for one in body["status"].get("conditions", [])}
    found = conditions.get(type_, {})
    return found.get("status", ""), found.get("reason", "")


def has_key(stage: Stage, provider: Manifest) -> bool:
    auth = provider["spec"].get("auth")
    if not auth:
        return True
    secret = stage.server.get("Secret", auth["secretName"], namespace=SYSTEM)
    return bool(secret and secret.get("data", {}).get("api-key"))


def owned_tenant(stage: Stage) -> tuple[Manifest, Tenant] | None:
    """Returns the tenant finance if it has everything that a tenant has: it can be used and is not on its way out."""
    body = stage.server.get("Tenant", "finance")
    if body is None or "deletionTimestamp" in body["metadata"]:
        return None
    parsed = valid("Tenant", body)
    home = stage.server.get("Namespace", SPACE)
    if parsed is not None and home is not None and "deletionTimestamp" in home["metadata"]:
        # a route that somebody holds keeps the namespace
        assert ready(body) == ("False", Reason.NAMESPACE_TERMINATING)
        return None
    if parsed is not None and home is not None and is_of_former(home, body):
        assert ready(body) == ("False", Reason.NAMESPACE_CONFLICT)
        return None
    return None if parsed is None else (body, parsed)


def is_of_former(home: Manifest, tenant: Manifest) -> bool:
    """Tells whether the namespace is older than its Tenant: here only the operator makes one, and no Tenant adopts."""
    # UIDs of the API server in memory grow
    return bool(home["metadata"]["uid"] < tenant["metadata"]["uid"])


def check_children(stage: Stage, spec: Tenant) -> None:
    wanted = [
        namespace.namespace(spec),
        namespace.operator_binding(spec, PLATFORM),
        namespace.service_account(spec),
        policies.default_deny(spec),
        workload.service(spec),
        workload.deployment(spec, PLATFORM),
        workload.disruption_budget(spec),
    ]
    for manifest in wanted:
        key = manifest["metadata"].get("namespace", "")
        live = stage.server.stored(manifest["kind"], manifest["metadata"]["name"], namespace=key)
        assert _intent(live) == _intent(manifest)
    live = stage.server.stored("NetworkPolicy", "relay", namespace=SPACE)
    assert live["spec"]["ingress"] == policies.relay_traffic(spec, PLATFORM, [])["spec"]["ingress"]


def _intent(body: Manifest) -> Manifest:
    labels = dict(body["metadata"].get("labels", {}))
    labels.pop(names.LABEL_NAMESPACE_NAME, None)
    rest = {field: body[field] for field in body.keys() - {"metadata", "status"}}
    return rest | {"labels": labels, "owners": body["metadata"].get("ownerReferences")}


def check_isolation(stage: Stage) -> None:
    """Checks what keeps the pods of a namespace apart from others, whether or not the spec of its Tenant can be used."""
    body, home = stage.server.get("Tenant", "finance"), stage.server.get("Namespace", SPACE)
    if body is None or home is None:
        return
    if any("deletionTimestamp" in one["metadata"] for one in (body, home)):
        return
    if is_of_former(home, body):
        assert body["metadata"]["uid"] not in str(home)
        return
    identity = Tenant.parse({"metadata": body["metadata"], "spec": {}})
    for manifest in (
        namespace.namespace(identity),
        namespace.operator_binding(identity, PLATFORM),
        namespace.service_account(identity),
        policies.default_deny(identity),
    ):
        space = manifest["metadata"].get("namespace", "")
        live = stage.server.stored(manifest["kind"], manifest["metadata"]["name"], namespace=space)
        assert _intent(live) == _intent(manifest)


def check_document(stage: Stage, body: Manifest, spec: Tenant) -> document.Document:
    configmap = stage.server.stored("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=SPACE)
    assert configmap["data"].keys() == {endpoints.DOCUMENT_KEY}
    sealed = configmap["data"][endpoints.DOCUMENT_KEY]
    stored, digest = seal.unseal(sealed, [SIGNING_KEY.public_key()])
    assert stored.tenant.uid == body["metadata"]["uid"]
    assert stored.tenant.suspended == spec.spec.suspend
    keys = key_secrets.decode(stage.server.get("Secret", names.API_KEYS_SECRET, namespace=SPACE))
    assert keys.keys() == {key.name for key in spec.spec.api_keys}
    digests = {key.name: key.sha256 for key in stored.tenant.keys}
    assert digests == {name: digest_of(key) for name, key in keys.items()}
    for pod in stage.server.list("Pod", namespace=SPACE):
        assert stage.relays.in_force[pod["metadata"]["uid"]].digest == digest
    upstream = stage.server.stored("Secret", names.UPSTREAM_SECRET, namespace=SPACE)
    for provider in stored.catalogue.providers:
        known = stage.server.get("Provider", provider.name)
        usable = known is not None and valid("Provider", known) is not None
        if known is not None and usable and provider.auth.key_file and has_key(stage, known):
            assert provider.name in upstream["data"]
    return stored


def check_tenant(stage: Stage, body: Manifest, stored: document.Document) -> None:
    """Checks Ready against the keys that are missing; everything else of a tenant is in place."""
    routes = [
        valid("RelayRoute", one)
        for one in _living_routes(stage)
        # a refused route takes no key
        if (ready(one, "Accepted")[0], ready(one, "Stalled")[0]) != ("False", "True")
    ]
    named = {provider.name for provider in stored.catalogue.providers}
    for route in filter(None, routes):
        named |= {side.provider for side in _sides(route)}
    missing = []
    for name in named:
        provider = stage.server.get("Provider", name)
        if provider is not None and valid("Provider", provider) and not has_key(stage, provider):
            missing.append(name)
    status, reason = ready(body)
    if missing:
        assert (status, reason) == ("False", Reason.SECRET_MISSING)
    else:
        assert status == "True", body["status"]


def _sides(route: Any) -> list[Any]:
    return [one for one in (route.spec.stable, route.spec.canary, *route.spec.fallback) if one]


def _living_routes(stage: Stage) -> list[Manifest]:
    listed = stage.server.list("RelayRoute", namespace=SPACE)
    return [one for one in listed if "deletionTimestamp" not in one["metadata"]]


def check_provider(stage: Stage, body: Manifest) -> None:
    usable = valid("Provider", body) is not None
    expected = "True" if usable and has_key(stage, body) else "False"
    assert ready(body)[0] == expected


def check_route(stage: Stage, body: Manifest, stored: document.Document) -> None:
    """Checks acceptance by hand, and that status tells the weight in force."""
    route = valid("RelayRoute", body)
    status, reason = ready(body, "Accepted")
    fragments = {one.name: one for one in stored.tenant.routes}
    fragment = fragments.get(body["metadata"]["name"])
    if fragment is not None and "weights" in body["status"]:
        assert body["status"]["weights"]["canaryPercent"] == fragment.canary_percent
    if route is None:
        assert reason == Reason.INVALID_SPEC
        return
    providers = [stage.server.get("Provider", side.provider) for side in _sides(route)]
    unusable = any(one is None or valid("Provider", one) is None for one in providers)
    if _loses(stage, body, route):
        assert reason == Reason.CONFLICTED
    elif unusable:
        assert reason == Reason.PROVIDER_NOT_FOUND
    elif reason == Reason.UNGUARDED_CHANGE:
        # no canary has proved the new stable side
        assert fragment is not None
        assert fragment.stable.provider != route.spec.stable.provider
    elif all(one is not None and has_key(stage, one) for one in providers):
        assert status == "True", body["status"]
    if fragment is not None and status == "True":
        assert fragment.canary_percent <= (route.spec.canary.percent if route.spec.canary else 0)


def _loses(stage: Stage, body: Manifest, route: Any) -> bool:
    """Tells whether the other route is older and matches the same calls."""

    def age(one: Manifest) -> tuple[str, str]:
        return one["metadata"]["creationTimestamp"], one["metadata"]["name"]

    for other in _living_routes(stage):
        parsed = valid("RelayRoute", other)
        if parsed is not None and parsed.spec.match == route.spec.match and age(other) < age(body):
            return True
    return False


def check_everything(stage: Stage) -> None:
    for kind in _OURS:
        for one in stage.server.list(kind):
            assert one["status"]["observedGeneration"] == one["metadata"]["generation"], one
            if kind != "Provider" and "deletionTimestamp" in one["metadata"]:
                assert ready(one) == ("False", Reason.TERMINATING)
            elif kind != "RelayRoute" and valid(kind, one) is None:
                assert ready(one) == ("False", Reason.INVALID_SPEC)
    for one in stage.server.list("Provider"):
        check_provider(stage, one)
    check_isolation(stage)
    found = owned_tenant(stage)
    if found is not None:
        body, spec = found
        check_children(stage, spec)
        stored = check_document(stage, body, spec)
        check_tenant(stage, body, stored)
        for route in _living_routes(stage):
            check_route(stage, route, stored)


async def played(sequence: list[Step]) -> None:
    asyncio.get_running_loop().set_exception_handler(report_all_but_death)
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage)
    play = Play(stage, life)
    for step in sequence:
        await play.take(step)
    await play.come_to_rest()
    check_everything(stage)
    before = stage.everything()
    further = await play.restart()
    await stage.settle(_LOOK_SECONDS)
    changed = {(kind, name) for kind, name in further.changes if kind not in ("Pod", "Event")}
    if owned_tenant(stage) is None:
        # what somebody breaks of a tenant that cannot be used is told by its relays alone, to who asks them anew
        changed = {(kind, name) for kind, name in changed if kind != "RelayRoute"}
    for kind, name in changed:
        home = "" if kind in ("Tenant", "Provider", "Namespace") else SPACE
        note(f"before {before.get((kind, home, name))}")
        note(f"after  {stage.server.get(kind, name, namespace=home)}")
    assert changed == set()
    await play.life.end()


@settings(max_examples=max(settings().max_examples // 3, 15))
@given(steps)
@example([*_ORPHANED, ("tenant", "plain")])
@example([*_ORPHANED, ("tenant", "invalid")])
def test_any_sequence_followed_by_quiet_ends_as_the_specs_ask(sequence: list[Step]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(played(sequence))
