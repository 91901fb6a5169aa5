"""The operator's own port: discovery for Prometheus, health, readiness, metrics."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.unit.relay_operator.cluster.unix_server import serving

from relay_operator.cluster.discovery.targets import Targets
from relay_operator.cluster.http_endpoint import OperatorEndpoint
from relay_operator.cluster.relays import Pod


def a_pod(name: str, *, ip: str = "10.0.0.1") -> Pod:
    return Pod(
        namespace="relay-finance",
        name=name,
        uid=f"uid-{name}",
        ip=ip,
        incarnation=0,
        ready=True,
        terminating=False,
    )


class Operator:
    """An endpoint and the facts it reports."""

    def __init__(self, *pods: Pod, is_ready: bool = True) -> None:
        self.ready = asyncio.Event()
        if is_ready:
            self.ready.set()
        self.ailment = ""
        targets = Targets()
        for namespace in {pod.namespace for pod in pods}:
            targets.put(namespace, (pod for pod in pods if pod.namespace == namespace))
        self.endpoint = OperatorEndpoint(
            targets=lambda: targets, ailment=lambda: self.ailment, ready=self.ready, port=0
        )


async def got(operator: Operator, tmp_path: Path, path: str) -> tuple[int, Any]:
    """Returns status and body, parsed where it is JSON."""
    socket = tmp_path / "operator.sock"
    async with (
        serving(operator.endpoint.application(), socket),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as client,
        client.get(f"http://operator.test{path}") as response,
    ):
        body = await (
            response.json() if response.content_type == "application/json" else response.text()
        )
        return response.status, body


async def test_every_relay_is_a_target_group_of_its_own(tmp_path: Path) -> None:
    operator = Operator(a_pod("relay-2"), a_pod("relay-1"))
    status, groups = await got(operator, tmp_path, "/sd/relays")
    assert status == 200
    assert [group["labels"]["pod"] for group in groups] == ["relay-1", "relay-2"]
    assert groups[0] == {
        "targets": ["10.0.0.1:8081"],
        "labels": {
            "__metrics_path__": "/metrics",
            "namespace": "relay-finance",
            "pod": "relay-1",
            "pod_uid": "uid-relay-1",
            "tenant": "finance",
            "relay_operator_scrape": "all",
        },
    }


async def test_an_ipv6_address_stands_in_brackets(tmp_path: Path) -> None:
    _, groups = await got(Operator(a_pod("relay-1", ip="fd00::1")), tmp_path, "/sd/relays")
    assert groups[0]["targets"] == ["[fd00::1]:8081"]


async def test_the_slo_targets_differ_by_path_and_label(tmp_path: Path) -> None:
    _, groups = await got(Operator(a_pod("relay-1")), tmp_path, "/sd/relays/slo")
    labels = groups[0]["labels"]
    assert (labels["__metrics_path__"], labels["relay_operator_scrape"]) == ("/metrics/slo", "slo")


async def test_an_operator_without_relays_has_no_targets(tmp_path: Path) -> None:
    assert await got(Operator(), tmp_path, "/sd/relays") == (200, [])


@pytest.mark.parametrize("path", ["/sd/relays", "/sd/relays/slo"])
async def test_discovery_gives_no_list_before_it_has_a_whole_one(tmp_path: Path, path: str) -> None:
    operator = Operator(a_pod("relay-1"), is_ready=False)
    status, text = await got(operator, tmp_path, path)
    assert (status, text) == (503, "initial list of resources is not complete\n")
    operator.ready.set()
    status, groups = await got(operator, tmp_path, path)
    assert (status, len(groups)) == (200, 1)


async def test_health_tells_what_is_wrong(tmp_path: Path) -> None:
    operator = Operator()
    assert await got(operator, tmp_path, "/healthz") == (200, "ok\n")
    operator.ailment = "the task slo-loop of the operator has stopped"
    status, text = await got(operator, tmp_path, "/healthz")
    assert (status, text) == (503, "the task slo-loop of the operator has stopped\n")


async def test_readiness_waits_for_the_initial_list(tmp_path: Path) -> None:
    operator = Operator(is_ready=False)
    status, text = await got(operator, tmp_path, "/readyz")
    assert (status, text) == (503, "initial list of resources is not complete\n")
    operator.ready.set()
    assert await got(operator, tmp_path, "/readyz") == (200, "ok\n")


async def test_metrics_are_in_text_exposition(tmp_path: Path) -> None:
    status, text = await got(Operator(), tmp_path, "/metrics")
    assert status == 200
    assert "# HELP python_info" in text


async def test_metrics_can_be_asked_for_by_name(tmp_path: Path) -> None:
    status, text = await got(Operator(), tmp_path, "/metrics?name[]=python_info")
    assert status == 200
    assert text.splitlines()[-1].startswith("python_info{")
    assert "process_" not in text


async def test_an_endpoint_that_never_started_can_be_stopped() -> None:
    await Operator().endpoint.stop()
