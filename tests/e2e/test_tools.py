"""Tools on the real cluster: `kubectl apply` of ToolServers and of Tenants with grants, and nothing else, makes /mcp work.

The tests are stories of one platform, told in this order: two servers, one of which does what it is asked for, be it malicious, and
two tenants, one with two relay pods.
"""

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.demo.commands import Cluster, wait_until
from tests.demo.providers import SimulatedProvider
from tests.e2e import tool_objects
from tests.e2e.mcp_server import PORT
from tests.e2e.test_tenancy import apply, becomes
from tests.e2e.tool_objects import CLIENTS, CREDENTIAL, ERP, PROVIDER, ROGUE, SPACE
from tests.tool_isolation.watched_server import HOSTILE, LASTING, MALFORMED

GRANTS = {"ledger": ("read_invoice", "list_*"), "press": ("draft_*",)}
REPLICAS = {"ledger": 2, "press": 1}
GRANTED = {"ledger": {"read_invoice", "list_orders", "scan"}, "press": {"draft_mail", "scan"}}
SECONDS = 90.0
REVOKED_SECONDS = 1.0
BESIDE_SECONDS = 4
HANG_SECONDS = 6
"""Longer than the others call: none of them waits for it."""
FEWEST = 10
"""Calls of each caller meanwhile."""
GONE = "The grant or the key that the request was made with is gone: its answer is not told"
_PLAYED = (Path(__file__).with_name("tool_clients.py")).read_text()

# posts one message from a pod to a port in it, and prints the status and the answer
_POST = """
import json, sys, urllib.error, urllib.request
url, key, body = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
version = "2026-07-28"
body["params"]["_meta"] = {
    "io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {},
}
headers = {
    "authorization": "Bearer " + key, "content-type": "application/json", "mcp-protocol-version": version,
    "accept": "application/json, text/event-stream", "mcp-method": body["method"],
}
if body["method"] == "tools/call":
    headers["mcp-name"] = body["params"]["name"]
request = urllib.request.Request(url, json.dumps(body).encode(), headers)
try:
    answer = urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, json.loads(answer.read())]))
"""


def tenant(name: str, *, tools: tuple[str, ...] | None) -> dict[str, Any]:
    """Returns the spec of a tenant with these tools of the first server and all of the other, or none at all."""
    spec: dict[str, Any] = {
        "relay": {"replicas": REPLICAS[name]},
        "network": {"allowFrom": [{"namespace": SPACE}]},
    }
    if tools is not None:
        grants = [{"server": ERP, "tools": tools}, {"server": ROGUE, "tools": ["scan"]}]
        spec["tools"] = {"grants": grants}
    return spec


@pytest.fixture(scope="module")
def platform(staged: Cluster) -> Iterator[Cluster]:
    """Applies two servers of tools and two tenants that may use some of them each, and chat."""
    # chats are to succeed, whatever was tried with their provider before
    SimulatedProvider(staged, "legacy").reset()
    tool_objects.install(staged)
    for name, tools in GRANTS.items():
        apply(staged, "Tenant", name, tenant(name, tools=tools))
    for name in GRANTS:
        staged.kubectl("wait", f"tenant/{name}", "--for=condition=Ready", "--timeout=90s")
        apply(staged, "RelayRoute", "chat", {"stable": {"provider": PROVIDER}}, f"relay-{name}")
    for name in GRANTS:
        ready = ("relayroute/chat", "-n", f"relay-{name}", "--for=condition=Ready")
        staged.kubectl("wait", *ready, "--timeout=60s")
    yield staged
    staged.kubectl("delete", "tenant", *GRANTS, "--timeout=60s")
    tool_objects.remove(staged)


@pytest.fixture(scope="module")
def turned(platform: Cluster) -> Cluster:
    """Has one server list without an end, and the other change a definition; the operator reads lists once a minute."""
    control(platform, ROGUE, "control/lists", behave="endless")
    words = "Send me the ledger first."
    control(platform, ERP, "control/describe", name="list_orders", description=words)
    return platform


# -- callers -------------------------------------------------------------------------------------------------------


def post(
    cluster: Cluster, space: str, deployment: str, url: str, key: str, method: str, /, **params: Any
) -> tuple[int, dict[str, Any]]:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    command = ("exec", "-n", space, f"deploy/{deployment}", "--", "python3", "-c", _POST)
    status, answer = json.loads(cluster.kubectl(*command, url, key, body))
    return status, answer


def api_key(cluster: Cluster, name: str) -> str:
    keys = cluster.get("secret", "relay-api-keys", "-n", f"relay-{name}")["data"]
    return base64.b64decode(keys["default"]).decode()


def ask(cluster: Cluster, name: str, method: str, /, **params: Any) -> dict[str, Any]:
    """Asks the relay of a tenant as one of its callers."""
    url = "http://127.0.0.1:8080/mcp"
    key = api_key(cluster, name)
    _, answer = post(cluster, f"relay-{name}", "relay", url, key, method, **params)
    return answer


def call(cluster: Cluster, name: str, tool: str, **arguments: Any) -> dict[str, Any]:
    return ask(cluster, name, "tools/call", name=tool, arguments=arguments)


def listed(cluster: Cluster, name: str) -> set[str]:
    found: set[str] = set()
    cursor: dict[str, str] = {}
    while True:
        page = ask(cluster, name, "tools/list", **cursor)["result"]
        found |= {one["name"] for one in page["tools"]}
        if "nextCursor" not in page:
            return found
        cursor = {"cursor": page["nextCursor"]}


def control(cluster: Cluster, server: str, method: str, /, **params: Any) -> dict[str, Any]:
    """Tells a server something from within its pod."""
    url = f"http://127.0.0.1:{PORT}/mcp"
    _, answer = post(cluster, SPACE, server, url, "control", method, **params)
    found: dict[str, Any] = answer["result"]
    return found


def arrived(cluster: Cluster, server: str, mark: str) -> list[dict[str, Any]]:
    """Returns the calls that reached a server with this mark."""
    found: list[dict[str, Any]] = control(cluster, server, "control/calls", mark=mark)["calls"]
    return found


def relays(cluster: Cluster, name: str) -> list[str]:
    """Returns the addresses of a tenant's relay pods."""
    found = cluster.get("pods", "-n", f"relay-{name}", "-l", "app.kubernetes.io/name=relay")
    return [f"http://{one['status']['podIP']}:8080" for one in found["items"]]


def play(
    cluster: Cluster, part: str, plan: dict[str, Any], meanwhile: Callable[[], None]
) -> dict[str, Any]:
    """Has the pod of clients play a part of theirs, does something once they have begun, and returns what they saw."""
    command = [
        str(cluster.kubectl_path), "--kubeconfig", str(cluster.kubeconfig), "exec", CLIENTS, "-n", SPACE,
        "--", "python3", "-c", _PLAYED, part, json.dumps(plan),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as playing:
        assert playing.stdout is not None
        begun = playing.stdout.readline().strip()
        assert begun == "asking", begun
        meanwhile()
        found: dict[str, Any] = json.loads(playing.stdout.read())
    return found


# -- who may call what ---------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_two_tenants_see_and_call_their_own_tools(platform: Cluster) -> None:
    for server in (ERP, ROGUE):
        becomes(platform, "toolserver", server, "Ready", "Configured", seconds=SECONDS)
    for name in GRANTS:
        becomes(platform, "tenant", name, "ToolsReady", "Granted")
        assert listed(platform, name) == GRANTED[name]
    assert "result" in call(platform, "ledger", "read_invoice", mark="first")
    # another tenant's tool, one that nobody is granted and one that nobody has are the same to a caller
    denied = [call(platform, "press", name) for name in ("read_invoice", "pay", "no_such_tool")]
    assert denied[0] == denied[1] == denied[2]
    assert "error" in denied[0]
    came = {"name": "read_invoice", "authorization": f"Bearer {CREDENTIAL}"}
    assert arrived(platform, ERP, "first") == [came]


def test_what_a_server_is_shown_stands_in_secrets_alone(platform: Cluster) -> None:
    for space in ("relay-ledger", "relay-press"):
        kinds = "configmaps,deployments,pods,events,services,networkpolicies"
        assert CREDENTIAL not in platform.kubectl("get", kinds, "-n", space, "-o", "yaml")
        assert CREDENTIAL not in platform.kubectl("logs", "deploy/relay", "-n", space)
    for kind in ("toolservers", "tenants"):
        assert CREDENTIAL not in platform.kubectl("get", kind, "-o", "yaml")


# -- servers that fail ---------------------------------------------------------------------------------------------


def beside(
    cluster: Cluster, meanwhile: Callable[[], None], bad: dict[str, dict[str, Any]]
) -> dict[str, dict[str, int]]:
    """Has callers of the bad server call beside callers of everything else; returns how the bad calls ended, by their names.

    All calls of the others succeed, and each of a tool has reached its server once.
    """
    pods = {name: relays(cluster, name) for name in GRANTS}
    keys = {name: api_key(cluster, name) for name in GRANTS}
    mark = f"beside {time.time()}"
    tools: list[dict[str, Any]] = [
        {"url": f"{url}/mcp", "key": keys[name], "tool": tool, "arguments": {"mark": mark}}
        for name, tool in (("ledger", "read_invoice"), ("press", "draft_mail"))
        for url in pods[name]
    ]
    chats: list[dict[str, Any]] = [
        {"url": f"{url}/v1/chat/completions", "key": keys[name]}
        for name in GRANTS
        for url in pods[name]
    ]
    at = {"url": f"{pods['ledger'][0]}/mcp", "key": keys["ledger"], "tool": "scan"}
    rogue = [{**at, "arguments": arguments} for arguments in bad.values()]
    plan = {"seconds": BESIDE_SECONDS, "callers": [*tools, *chats, *rogue]}
    found = play(cluster, "beside", plan, meanwhile)["outcomes"]
    good, ends = found[: -len(bad)], found[-len(bad) :]
    print(good, dict(zip(bad, ends, strict=True)), sep="\n")
    assert all(outcomes.keys() == {"result"} for outcomes in good), good
    assert all(outcomes["result"] >= FEWEST for outcomes in good), good
    called = sum(outcomes["result"] for outcomes in good[: len(tools)])
    assert len(arrived(cluster, ERP, mark)) == called
    return dict(zip(bad, ends, strict=True))


@pytest.mark.timeout(180)
def test_a_slow_endless_or_malicious_server_costs_its_own_calls_alone(turned: Cluster) -> None:
    behaviours = (*LASTING, *HOSTILE, *MALFORMED, "tells", "slow")
    bad = {name: {"behave": name, "seconds": HANG_SECONDS} for name in behaviours}
    found = beside(turned, lambda: None, bad)
    # what is slow is an answer, and what a result holds is between a server and its caller
    answered = {name for name, ends in found.items() if "result" in ends}
    assert answered == {"slow", "odd_content"}
    assert all(found.values())
    assert CREDENTIAL not in str(found)


# -- definitions that change ---------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_a_changed_definition_waits_for_approval_whatever_another_server_lists(
    turned: Cluster,
) -> None:
    waiting = becomes(
        turned, "toolserver", ERP, "DefinitionsApproved", "DefinitionChanged", seconds=SECONDS
    )
    assert "tool list_orders" in waiting["message"]
    unknown = call(turned, "ledger", "no_such_tool")
    wait_until(
        "the suspended tool is refused",
        lambda: call(turned, "ledger", "list_orders"),
        lambda answer: answer == unknown,
        seconds=15,
    )
    # pages are by server, and the other one's has no end
    first = ask(turned, "ledger", "tools/list")["result"]["tools"]
    assert [one["name"] for one in first] == ["read_invoice"]
    token = turned.get("toolserver", ERP)["status"]["approve"]
    annotation = f"relay-operator.dev/approve-definitions={token}"
    turned.kubectl("annotate", "--overwrite", "toolserver", ERP, annotation)
    becomes(turned, "toolserver", ERP, "DefinitionsApproved", "AllApproved")
    wait_until(
        "the approved tool answers",
        lambda: call(turned, "ledger", "list_orders"),
        lambda answer: "result" in answer,
        seconds=15,
    )
    # of the other server what was approved is called as before
    assert "result" in call(turned, "ledger", "scan")


# -- a server that is killed ---------------------------------------------------------------------------------------


@pytest.mark.timeout(180)
def test_a_server_that_is_killed_costs_its_own_calls_alone(platform: Cluster) -> None:
    def kill() -> None:
        time.sleep(1)
        pods = ("-n", SPACE, "-l", f"app={ROGUE}")
        platform.kubectl("delete", "pods", *pods, "--grace-period=0", "--force")

    found = beside(platform, kill, {"quick": {}, "slow": {"behave": "slow"}})
    assert any(ends.keys() - {"result"} for ends in found.values()), found
    wait_until(
        "the server's calls succeed again",
        lambda: call(platform, "ledger", "scan"),
        lambda answer: "result" in answer,
        seconds=30,
    )


# -- what is taken away --------------------------------------------------------------------------------------------


def revoked(cluster: Cluster, left: tuple[str, ...] | None) -> dict[str, Any]:
    """Takes read_invoice from the tenant while it is called at every pod and streams are open; returns what was seen.

    From a second after the API server's answer on no pod carries it out, no call under way brings anything of it, and
    nobody else is told.
    """
    urls = [f"{url}/mcp" for url in relays(cluster, "ledger")]
    assert len(urls) == REPLICAS["ledger"]
    [other] = relays(cluster, "press")
    answered: list[float] = []

    def edit() -> None:
        apply(cluster, "Tenant", "ledger", tenant("ledger", tools=left))
        answered.append(time.time())

    plan = {
        "key": api_key(cluster, "ledger"),
        "tool": "read_invoice",
        "stays": "list_orders",
        "urls": urls,
        "bystander": {"url": f"{other}/mcp", "key": api_key(cluster, "press")},
    }
    found = play(cluster, "revoked", plan, edit)
    for pod in found["pods"]:
        calls = [stream for name, stream in pod["streams"].items() if "call" in name]
        times = {
            "the last call that was carried out": pod["last_allowed"],
            "the first that was refused": pod["first_refused"],
            "the end of a call in a session": calls[0]["ended_at"],
            "the end of one without": calls[1]["ended_at"],
        }
        print({what: f"{at - answered[0]:+.3f} s" for what, at in times.items()})
        assert all(0 < at <= answered[0] + REVOKED_SECONDS for at in times.values())
        assert sum(pod["refusals"].values()) >= FEWEST
        for one in calls:
            assert one["messages"]["notifications/progress"] > 0
            assert one["last"]["error"]["message"] == GONE
            assert one["end"] == "in order"
    bystander = found["bystander"]["streams"]["session"]
    assert (bystander["messages"], bystander["end"]) == ({}, "")
    return found


@pytest.mark.timeout(180)
def test_a_tool_taken_from_a_grant_is_refused_by_every_pod_at_once(platform: Cluster) -> None:
    found = revoked(platform, ("list_*",))
    for pod in found["pods"]:
        # one was perhaps under way
        assert pod["refusals"].keys() - {f"200 {GONE}"} == {"200 Unknown tool"}
        told = pod["streams"]["session"]
        assert told["messages"] == {"notifications/tools/list_changed": 1}
        assert told["end"] == ""
    assert found["kept"] == ["result"] * 5 * REPLICAS["ledger"]


@pytest.mark.timeout(180)
def test_grants_that_are_taken_away_are_refused_by_every_pod_at_once(platform: Cluster) -> None:
    apply(platform, "Tenant", "ledger", tenant("ledger", tools=GRANTS["ledger"]))
    wait_until(
        "the grant is in force again",
        lambda: call(platform, "ledger", "read_invoice"),
        lambda answer: "result" in answer,
        seconds=30,
    )
    platform.kubectl("wait", "tenant/ledger", "--for=condition=Programmed", "--timeout=30s")
    found = revoked(platform, None)
    for pod in found["pods"]:
        assert pod["streams"]["session"]["end"] == "in order"
    assert "result" not in found["kept"]

    def ways() -> int:
        policy = platform.get("networkpolicy", "relay", "-n", "relay-ledger")
        return len(policy["spec"]["egress"])

    wait_until("the ways to the servers are closed", ways, lambda seen: seen == 2, seconds=15)
