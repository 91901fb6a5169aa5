"""Stands between the operator and Prometheus, and spoils what it asks for.

`python -m tests.simulator.prometheus_faults --upstream http://prometheus:9090`. PUT /fault on the control port chooses the fault.
"""

import argparse
import asyncio
import signal
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import aiohttp
import orjson
from aiohttp import web

SLOW_SECONDS = 2.5
OFF_SECONDS = 3600.0


class Fault(StrEnum):
    """A way in which Prometheus fails."""

    NONE = "none"
    SLOW = "slow"
    """Answers come after SLOW_SECONDS."""
    HANGING = "hanging"
    """Questions are taken and never answered."""
    REFUSING = "refusing"
    """Status 503."""
    EMPTY = "empty"
    """Whole answers without a series."""
    PARTIAL = "partial"
    """Answers with a warning, and without the series of canaries."""
    GARBAGE = "garbage"
    """Status 200 and no JSON."""
    IMPOSSIBLE = "impossible"
    """Ten times as many attempts of canaries failed as were counted, and a thousand more: more than finished."""
    LOST_COUNTS = "lost_counts"
    """Counters are half of what they were, as if what was counted were lost, while their processes go on."""
    EARLY = "early"
    """Samples are from an hour ago."""
    LATE = "late"
    """Samples are from an hour ahead."""


Series = dict[str, Any]


def _changed(change: Callable[[Series, list[Any]], list[Any]]) -> Callable[[Series], Series]:
    def apply(series: Series) -> Series:
        values = [change(series["metric"], sample) for sample in series["values"]]
        return {"metric": series["metric"], "values": values}

    return apply


def _impossible(metric: Series, sample: list[Any]) -> list[Any]:
    failed = metric["__name__"] == "relay_slo_attempts_failed_total"
    if failed and metric.get("side") == "canary":
        return [sample[0], repr(10 * float(sample[1]) + 1000)]
    return sample


def _halved(metric: Series, sample: list[Any]) -> list[Any]:
    counter = metric["__name__"].endswith("_total")
    return [sample[0], repr(float(sample[1]) // 2)] if counter else sample


_CHANGES: dict[Fault, Callable[[Series], Series]] = {
    Fault.IMPOSSIBLE: _changed(_impossible),
    Fault.LOST_COUNTS: _changed(_halved),
    Fault.EARLY: _changed(lambda _, sample: [sample[0] - OFF_SECONDS, sample[1]]),
    Fault.LATE: _changed(lambda _, sample: [sample[0] + OFF_SECONDS, sample[1]]),
}


def spoiled(content: bytes, fault: Fault) -> bytes:
    """Returns an answer of Prometheus as the fault has it."""
    if fault is Fault.GARBAGE:
        return b"<html>" + content[:100]
    answer = orjson.loads(content)
    data = answer.get("data", {})
    found: list[Series] = data.get("result", [])
    if fault is Fault.EMPTY:
        found = []
    if fault is Fault.PARTIAL:
        answer["warnings"] = ["a store did not answer"]
        found = [series for series in found if series["metric"].get("side") != "canary"]
    if change := _CHANGES.get(fault):
        found = [change(series) for series in found]
    return orjson.dumps(answer | {"data": data | {"result": found}})


class Proxy:
    """Passes questions on under the fault in force."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str) -> None:
        self.fault = Fault.NONE
        self.asked = 0
        self._session = session
        self._upstream = upstream

    async def pass_on(self, request: web.Request) -> web.Response:
        """Answers one question."""
        self.asked += 1
        fault = self.fault
        if fault is Fault.REFUSING:
            return web.Response(status=503, text="down")
        if fault is Fault.HANGING:
            await asyncio.sleep(OFF_SECONDS)
        if fault is Fault.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        body, headers = await request.read(), {}
        if body:
            headers["content-type"] = request.headers["content-type"]
        url = self._upstream + request.raw_path
        async with self._session.request(
            request.method, url, data=body or None, headers=headers
        ) as found:
            status, content = found.status, await found.read()
        if status == 200 and fault not in (Fault.NONE, Fault.SLOW):
            content = spoiled(content, fault)
        return web.Response(status=status, body=content, content_type="application/json")

    async def choose(self, request: web.Request) -> web.Response:
        """Puts a fault in force."""
        self.fault = Fault((await request.text()).strip())
        return web.json_response({"fault": self.fault})

    async def health(self, _: web.Request) -> web.Response:
        """Tells the fault in force and how many questions came."""
        return web.json_response({"fault": self.fault, "asked": self.asked})


async def serve(*, upstream: str, port: int, control_port: int) -> None:
    """Serves until SIGTERM."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with aiohttp.ClientSession(auto_decompress=True) as session:
        proxy = Proxy(session, upstream)
        traffic, control = web.Application(), web.Application()
        traffic.router.add_route("*", "/{path:.*}", proxy.pass_on)
        control.add_routes([web.get("/healthz", proxy.health), web.put("/fault", proxy.choose)])
        runners = []
        for application, number_of_port in ((traffic, port), (control, control_port)):
            runner = web.AppRunner(application, access_log=None, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "0.0.0.0", number_of_port).start()
            runners.append(runner)
        await stopping.wait()
        for runner in runners:
            await runner.cleanup()


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.prometheus_faults")
    parser.add_argument("--upstream", required=True, help="base URL of Prometheus")
    parser.add_argument("--port", type=int, default=9090)
    parser.add_argument("--control-port", type=int, default=9001)
    arguments = parser.parse_args()
    asyncio.run(
        serve(
            upstream=arguments.upstream.rstrip("/"),
            port=arguments.port,
            control_port=arguments.control_port,
        )
    )


if __name__ == "__main__":
    main()
