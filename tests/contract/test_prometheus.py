"""A real Prometheus: discovery, scrapes, the query and its answer, TLS and credentials; and a job that believes its pods."""

import json
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.authority import Authority
from tests.blackbox.waiting import eventually
from tests.cluster.images import debian
from tests.unit.relay_operator.relay_counters import RelayCounters, SideName

from relay_operator.cluster.discovery.targets import SLO, targets
from relay_operator.cluster.prometheus.access import Access
from relay_operator.cluster.prometheus.client import Prometheus
from relay_operator.cluster.relays import Pod
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.analysis.increments import Increments
from relay_operator.decisions.analysis.scrapes import RouteKey, Subject
from relay_operator.errors import MetricsUnavailable

NAMESPACE, POD = "relay-finance", "relay-1"
ROUTE: RouteKey = (NAMESPACE, "chat")
STABLE: SideName = ("chat", "stable", "aaaaaaaaaaaa")
CANARY: SideName = ("chat", "canary", "bbbbbbbbbbbb")
SUBJECT = Subject(stable=STABLE[2], canary=CANARY[2], signals=frozenset({"Total"}), tokens=True)
SCRAPE_SECONDS = 1.0
STARTS_SECONDS = 30.0
PASSWORD, HASH = "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
"""A test vector of bcrypt; Prometheus keeps passwords so."""

Pages = dict[str, Callable[[], str]]


class Serving:
    """Serves pages on a port of 127.0.0.1 until it is closed."""

    def __init__(self, pages: Pages) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages.get(self.path)
                body = page().encode() if page else b""
                self.send_response(200 if page else 404)
                kind = "application/json" if self.path == "/sd" else "text/plain"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def page_of(counters: RelayCounters, *, forged: bool = False) -> str:
    """Renders a page; forged, with the labels by which a scraper names a pod and its job."""
    lines = []
    for labels, value in counters.page():
        own = {
            name: text
            for name, text in labels.items()
            if name != "__name__" and (forged or name not in ("namespace", "pod", "job"))
        }
        if forged:
            own["job"] = "pods"
        shown = ",".join(f'{name}="{text}"' for name, text in own.items())
        lines.append(f"{labels['__name__']}{{{shown}}} {value}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Prometheus that the cluster's image has."""
    folder = tmp_path_factory.mktemp("prometheus")
    with tarfile.open(debian.prometheus_layer().path) as layer:
        layer.extract("usr/bin/prometheus", folder, filter="data")
    return folder / "usr/bin/prometheus"


class Scene:
    """A relay pod as the operator's discovery names it, and a stranger that a job with honor_labels scrapes."""

    def __init__(self, folder: Path) -> None:
        self.relay, self.stranger = RelayCounters(POD, NAMESPACE), RelayCounters(POD, NAMESPACE)
        for counters in (self.relay, self.stranger):
            counters.count(STABLE)
            counters.count(CANARY)
        self._folder = folder
        self.serving = Serving(
            {
                "/sd": self._discovery,
                "/metrics/slo": lambda: page_of(self.relay),
                "/metrics": lambda: page_of(self.stranger, forged=True),
            }
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    def _discovery(self) -> str:
        pod = Pod(
            namespace=NAMESPACE,
            name=POD,
            uid="0d4e6f6a",
            ip="127.0.0.1",
            incarnation=0,
            ready=True,
            terminating=False,
            admin_port=self.serving.port,
        )
        return json.dumps(targets([pod], SLO))

    def configuration(self) -> Path:
        path = self._folder / "prometheus.yml"
        path.write_text(
            f"""\
global: {{scrape_interval: {SCRAPE_SECONDS:g}s, scrape_timeout: {SCRAPE_SECONDS:g}s}}
scrape_configs:
- job_name: relays-slo
  honor_timestamps: false
  http_sd_configs:
  - {{url: "http://127.0.0.1:{self.serving.port}/sd", refresh_interval: 1s}}
- job_name: pods
  honor_labels: true
  static_configs:
  - {{targets: ["127.0.0.1:{self.serving.port}"]}}
"""
        )
        return path


def started(program: Path, scene: Scene, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [
                str(program),
                f"--config.file={scene.configuration()}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{scene.port}",
                *arguments,
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )


class Reading:
    """Reads the route as the SLO loop does."""

    def __init__(self, access: Access) -> None:
        self.client = Prometheus(access)
        self.evidence = Evidence(scrape_seconds=SCRAPE_SECONDS)
        self.evidence.follow({ROUTE: SUBJECT})

    def tick(self) -> Increments:
        at = time.monotonic()
        question = self.evidence.question({NAMESPACE: [POD]}, at=at)
        if question is not None:
            self.evidence.take(self.client.read(question).series, at=at)
        return self.evidence.increments(ROUTE, expected=[POD], at=at)

    def fresh(self) -> bool:
        """Tells whether the pod is heard; an answer of a Prometheus that starts is none yet."""
        try:
            return self.tick().fresh_pods == 1
        except MetricsUnavailable:
            return False

    def counted(self) -> Callable[[], tuple[float, float, float, float]]:
        """Returns what adds up the canary's started, failed, slow and tokens from now on."""
        total = [0.0] * 4

        def add() -> tuple[float, float, float, float]:
            canary = self.tick().canary
            more = (
                canary.started,
                canary.failed,
                canary.slow.get("Total", (0.0, 0.0))[0],
                canary.output_tokens,
            )
            total[:] = [one + another for one, another in zip(total, more, strict=True)]
            return total[0], total[1], total[2], total[3]

        return add


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.serving.close()


def test_what_a_relay_counts_is_read_and_what_a_stranger_says_is_not(
    program: Path, scene: Scene, tmp_path: Path
) -> None:
    process = started(program, scene, tmp_path)
    reading = Reading(Access(url=f"http://127.0.0.1:{scene.port}/"))
    try:
        eventually(reading.fresh, within_seconds=STARTS_SECONDS, what="a scrape")
        counted = reading.counted()
        scene.stranger.count(CANARY, finished=1000, failed=1000)
        scene.relay.count(
            CANARY, finished=60, failed=4, output_tokens=700, **{"slow/Total": 3, "timed/Total": 50}
        )
        expected = (60.0, 4.0, 3.0, 700.0)
        eventually(counted, expected.__eq__, within_seconds=STARTS_SECONDS, what="what it counted")
        # another process of the pod, whose counts begin at zero
        scene.relay.restart(start_time=2000.0)
        scene.relay.count(CANARY, finished=5, failed=1)
        expected = (65.0, 5.0, 3.0, 700.0)
        eventually(counted, expected.__eq__, within_seconds=STARTS_SECONDS, what="the new process")
    finally:
        process.kill()
        process.wait()
        reading.client.close()


def test_tls_with_a_client_certificate_and_a_password_is_spoken(
    program: Path, scene: Scene, tmp_path: Path
) -> None:
    authority = Authority()
    authority.issue(tmp_path)
    files = {"ca.crt": authority.pem, "username": "relay\n", "password": f"{PASSWORD}\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    web = tmp_path / "web.yml"
    web.write_text(
        f"""\
tls_server_config:
  cert_file: {tmp_path}/tls.crt
  key_file: {tmp_path}/tls.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: {tmp_path}/ca.crt
basic_auth_users: {{relay: "{HASH}"}}
"""
    )
    process = started(program, scene, tmp_path, f"--web.config.file={web}")
    url = f"https://localhost:{scene.port}"
    trusted: dict[str, Any] = {"ca_file": f"{tmp_path}/ca.crt"}
    certified = {"certificate_file": f"{tmp_path}/tls.crt", "key_file": f"{tmp_path}/tls.key"}
    known = {"username_file": f"{tmp_path}/username", "password_file": f"{tmp_path}/password"}
    readings = [
        Reading(Access(url=url, **more))
        for more in (
            trusted | certified | known,
            certified | known,
            trusted | known,
            trusted | certified,
        )
    ]
    try:
        eventually(readings[0].fresh, within_seconds=STARTS_SECONDS, what="a scrape")
        for reading, why in zip(
            readings[1:], ("is not trusted", "did not answer", "401"), strict=True
        ):
            with pytest.raises(MetricsUnavailable, match=why):
                reading.tick()
    finally:
        process.kill()
        process.wait()
        for reading in readings:
            reading.client.close()
