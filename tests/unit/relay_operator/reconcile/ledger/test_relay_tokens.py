"""With a ledger relays have what they deliver by: settings, a token of their own, an outbox, and the one way there. Without, nothing."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.billing.ledger_token import read_keys
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.manifests.environment import Ledger

SPACE = "relay-finance"
OLD, NEW = "old-" * 8, "new-" * 8
LEDGER = Ledger(
    url="http://relay-operator-ledger.relay-system.svc:8090",
    pods=(("app.kubernetes.io/name", "relay-operator-ledger"),),
    outbox_mebibytes=64,
    tool_call_mebibytes=32,
    outbox_when_full="refuse",
    outbox_drain_seconds=40,
)


def stage_with(directory: Path, keys: str = OLD) -> Stage:
    stage = Stage()
    stage.platform = replace(stage.platform, ledger=LEDGER)
    (directory / "keys").write_text(keys)
    stage.ledger_keys = KeyFile(str(directory / "keys"))
    stage.tenant()
    return stage


def token(stage: Stage) -> str:
    secret = stage.server.stored("Secret", "relay-ledger", namespace=SPACE)
    return base64.b64decode(secret["data"]["token"]).decode()


def uid(stage: Stage) -> str:
    found: str = stage.server.stored("Tenant", "finance")["metadata"]["uid"]
    return found


def pod_spec(stage: Stage) -> dict[str, Any]:
    deployment = stage.server.stored("Deployment", "relay", namespace=SPACE)
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@in_virtual_time
async def test_relays_have_a_token_of_their_tenant_and_the_way_to_the_ledger(
    tmp_path: Path,
) -> None:
    stage = stage_with(tmp_path)
    life = await stage.operator()
    await stage.settle()
    assert read_keys(OLD).tenant_of(token(stage)) == uid(stage)
    pod = pod_spec(stage)
    [container] = pod["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment["RELAY_LEDGER_URL"] == LEDGER.url
    assert environment["RELAY_OUTBOX_MEBIBYTES"] == "64"
    assert environment["RELAY_TOOL_CALL_MEBIBYTES"] == "32"
    assert environment["RELAY_OUTBOX_WHEN_FULL"] == "refuse"
    assert environment["RELAY_OUTBOX_DRAIN_SECONDS"] == "40"
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    file = Path(str(environment["RELAY_LEDGER_TOKEN_FILE"]))
    assert file.name == "token"
    assert volumes[mounts[str(file.parent)]]["secret"]["secretName"] == "relay-ledger"
    outbox = volumes[mounts[str(environment["RELAY_OUTBOX_DIRECTORY"])]]
    assert outbox["emptyDir"] == {"sizeLimit": "104Mi"}
    policy = stage.server.stored("NetworkPolicy", "relay", namespace=SPACE)
    assert policy["spec"]["egress"][-1] == {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SYSTEM}},
                "podSelector": {"matchLabels": dict(LEDGER.pods)},
            }
        ],
        "ports": [{"protocol": "TCP", "port": 8090}],
    }
    await life.end()


@in_virtual_time
async def test_a_pod_that_ends_has_time_for_its_calls_and_then_for_its_records(
    tmp_path: Path,
) -> None:
    with_ledger, without = stage_with(tmp_path), Stage()
    without.tenant()
    grace: list[int] = []
    for stage in (with_ledger, without):
        life = await stage.operator()
        await stage.settle()
        grace.append(pod_spec(stage)["terminationGracePeriodSeconds"])
        await life.end()
    assert grace[0] == grace[1] + LEDGER.outbox_drain_seconds


@in_virtual_time
async def test_another_key_makes_another_token_and_a_broken_file_changes_none(
    tmp_path: Path,
) -> None:
    stage = stage_with(tmp_path)
    life = await stage.operator()
    await stage.settle()
    before = token(stage)
    (tmp_path / "next").write_text("too short")
    (tmp_path / "next").rename(tmp_path / "keys")
    await stage.settle(700)
    assert token(stage) == before
    (tmp_path / "next").write_text(f"{NEW}\n{OLD}\n")
    (tmp_path / "next").rename(tmp_path / "keys")
    await stage.settle(700)
    assert read_keys(NEW).tenant_of(token(stage)) == uid(stage)
    await life.end()


@in_virtual_time
async def test_without_a_ledger_there_is_nothing_of_it() -> None:
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    assert stage.server.get("Secret", "relay-ledger", namespace=SPACE) is None
    assert not {one["name"] for one in pod_spec(stage)["volumes"]} & {"ledger", "outbox"}
    [container] = pod_spec(stage)["containers"]
    assert [one for one in container["env"] if "LEDGER" in one["name"]] == []
    assert [one for one in container["env"] if "OUTBOX" in one["name"]] == []
    assert (
        len(stage.server.stored("NetworkPolicy", "relay", namespace=SPACE)["spec"]["egress"]) == 1
    )
    await life.end()


@in_virtual_time
async def test_a_ledger_that_is_switched_off_leaves_no_token_behind(tmp_path: Path) -> None:
    stage = stage_with(tmp_path)
    life = await stage.operator()
    await stage.settle()
    stage.roll()
    await stage.settle()
    await life.end()
    stage.platform, stage.ledger_keys = replace(stage.platform, ledger=None), None
    life = await stage.operator()
    await stage.settle()
    assert read_keys(OLD).tenant_of(token(stage)) == uid(stage), "former pods have to deliver yet"
    stage.roll()
    await stage.settle()
    assert not {one["name"] for one in pod_spec(stage)["volumes"]} & {"ledger", "outbox"}
    assert stage.server.get("Secret", "relay-ledger", namespace=SPACE) is None
    await life.end()
