"""The chart's ledger: off by default, on SQLite or PostgreSQL, and reached by whom it is for."""

import base64
import json
from typing import Any

import pytest
from pydantic import SecretStr
from tests.chart.rendering import CHART, flags, helm, rendered

from relay_contract.billing.delivery import INGEST_PORT
from relay_contract.billing.ledger_token import read_keys
from relay_ledger.settings import Settings as LedgerSettings
from relay_operator.manifests.policies import NOT_PUBLIC_V4, NOT_PUBLIC_V6
from relay_operator.settings import Settings

NAME = "relay-operator-ledger"
POSTGRESQL = ("ledger.enabled=true", "ledger.database.secretName=ledger-dsn")


def objects(*values: str) -> dict[str, dict[str, Any]]:
    """Returns what is called like the ledger, by kind; without the Service of its pods' own addresses."""
    named = ((one, str(one["metadata"]["name"])) for one in rendered(*values))
    return {
        one["kind"]: one for one, name in named if name.startswith(NAME) and name != f"{NAME}-pods"
    }


def pod_of(made: dict[str, dict[str, Any]]) -> dict[str, Any]:
    pod: dict[str, Any] = made["Deployment"]["spec"]["template"]["spec"]
    return pod


def operator_environment(*values: str) -> dict[str, str]:
    [deployment] = [
        one
        for one in rendered(*values)
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", "relay-operator")
    ]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


def test_it_is_off_by_default_and_no_operator_knows_of_one() -> None:
    assert objects() == {}
    assert not {name for name in operator_environment() if "LEDGER" in name or "OUTBOX" in name}


def test_on_sqlite_it_is_one_pod_with_a_volume_that_reaches_nothing() -> None:
    made = objects(
        "ledger.enabled=true",
        "ledger.database.sqlite.size=20Gi",
        "ledger.database.sqlite.storageClass=fast",
    )
    assert set(made) == {
        *("Deployment", "ServiceAccount", "Service", "NetworkPolicy"),
        *("PersistentVolumeClaim", "Secret"),
    }
    spec = made["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    claim = made["PersistentVolumeClaim"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert made["NetworkPolicy"]["spec"]["egress"] == []
    # what holds what was booked, and what lets relays in, outlives the release
    for kind in ("PersistentVolumeClaim", "Secret"):
        assert made[kind]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_on_postgresql_there_are_several_pods_and_the_address_is_in_a_file() -> None:
    made = objects(*POSTGRESQL, "ledger.replicas=3", "ledger.database.secretKey=uri")
    assert "PersistentVolumeClaim" not in made
    assert made["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert made["Deployment"]["spec"]["replicas"] == 3
    pod = pod_of(made)
    [database] = [one for one in pod["volumes"] if one["name"] == "database"]
    assert database["secret"]["secretName"] == "ledger-dsn"
    assert database["secret"]["items"] == [{"key": "uri", "path": "relay_ledger_database"}]
    assert not [one for one in pod["containers"][0]["env"] if "DATABASE" in one["name"]]
    ports = [
        [port["port"] for port in rule["ports"]] for rule in made["NetworkPolicy"]["spec"]["egress"]
    ]
    assert ports == [[53, 53], [5432]]


def test_where_the_database_is_named_nothing_else_is_reached() -> None:
    made = objects(
        *POSTGRESQL, "ledger.database.namespace=db", "ledger.database.cidrs={10.20.0.5/32}"
    )
    assert made["NetworkPolicy"]["spec"]["egress"][1]["to"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "db"}}},
        {"ipBlock": {"cidr": "10.20.0.5/32"}},
    ]


@pytest.mark.parametrize("values", [("ledger.enabled=true",), POSTGRESQL])
def test_its_pod_is_restricted_and_has_no_right_in_the_cluster(values: tuple[str, ...]) -> None:
    made = objects(*values)
    pod = pod_of(made)
    [container] = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    subjects = [
        subject["name"]
        for one in rendered(*values)
        if one["kind"] in ("RoleBinding", "ClusterRoleBinding")
        for subject in one["subjects"]
    ]
    assert NAME not in subjects
    # no selector of the operators' takes its pods for theirs
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for one in rendered(*values):
        selector = one.get("spec", {}).get("podSelector", {}).get("matchLabels")
        if one["metadata"]["name"] == "relay-operator" and selector:
            assert not selector.items() <= labels.items()


def test_relays_and_operator_reach_it_and_prometheus_its_metrics() -> None:
    policy = objects("ledger.enabled=true", "podMonitors.enabled=true")["NetworkPolicy"]
    [calls, scrapes] = policy["spec"]["ingress"]
    assert [one["port"] for one in calls["ports"]] == ["ingest"]
    assert calls["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "relay"
    assert calls["from"][1]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == (
        "relay-operator"
    )
    assert [one["port"] for one in scrapes["ports"]] == ["admin"]


def test_payment_systems_reach_the_port_where_they_are_named() -> None:
    policy = objects(
        "ledger.enabled=true",
        "ledger.payments.from[0].namespaceSelector.matchLabels.team=shop",
        "ledger.payments.from[0].podSelector.matchLabels.app=checkout",
        "ledger.payments.from[1].ipBlock.cidr=192.0.2.7/32",
    )["NetworkPolicy"]
    [calls, scrapes] = policy["spec"]["ingress"]
    assert calls["from"][2:] == [
        {
            "namespaceSelector": {"matchLabels": {"team": "shop"}},
            "podSelector": {"matchLabels": {"app": "checkout"}},
        },
        {"ipBlock": {"cidr": "192.0.2.7/32"}},
    ]
    assert len(scrapes["from"]) == 1


def test_the_ledger_is_told_how_long_it_waits() -> None:
    def told(*values: str) -> LedgerSettings:
        [container] = pod_of(objects("ledger.enabled=true", *values))["containers"]
        prefix = "RELAY_LEDGER_"
        return LedgerSettings.model_validate(
            {
                one["name"].removeprefix(prefix).lower(): one["value"]
                for one in container["env"]
                if "value" in one
            }
        )

    defaults = LedgerSettings(database=SecretStr("sqlite://"))
    names = ("kept_days", "past_days", "open_seconds", "grace_hours", "audit_hours")
    assert [getattr(told(), name) for name in names] == [getattr(defaults, name) for name in names]
    changed = told(
        *("ledger.keptDays=500", "ledger.pastDays=90"),
        *("ledger.openHours=12", "ledger.graceHours=24", "ledger.auditHours=6"),
    )
    assert [getattr(changed, name) for name in names] == [500, 90, 12 * 3600, 24, 6]


REPORTS = (
    "ledger.enabled=true",
    "ledger.reports.sources[0].provider=openai",
    "ledger.reports.sources[0].dialect=openai",
    "ledger.reports.sources[0].secretName=openai-admin",
    "ledger.reports.sources[0].ownKeys={key_1,key_2}",
    "ledger.reports.sources[0].projects={proj_1}",
    "ledger.reports.sources[1].provider=claude",
    "ledger.reports.sources[1].dialect=anthropic",
    "ledger.reports.sources[1].secretName=claude-admin",
    "ledger.reports.sources[1].secretKey=admin",
)


@pytest.mark.parametrize("database", [(), POSTGRESQL])
def test_reports_are_asked_for_with_keys_of_their_own(database: tuple[str, ...]) -> None:
    made = objects(*REPORTS, *database)
    pod = pod_of(made)
    [container] = pod["containers"]
    [told] = [one["value"] for one in container["env"] if one["name"] == "RELAY_LEDGER_REPORTS"]
    sources = LedgerSettings.model_validate(
        {"database": "sqlite://", "reports": json.loads(told)}
    ).reports
    assert [(one.provider, one.dialect, one.own_keys, one.projects) for one in sources] == [
        ("openai", "openai", ("key_1", "key_2"), ("proj_1",)),
        ("claude", "anthropic", (), ()),
    ]
    secrets = {one["name"]: one.get("secret") for one in pod["volumes"]}
    places = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    for source, secret, key in zip(
        sources, ("openai-admin", "claude-admin"), ("api-key", "admin"), strict=True
    ):
        mounted = secrets[places[str(source.key_file.parent)]]
        assert (mounted["secretName"], mounted["items"]) == (
            secret,
            [{"key": key, "path": source.key_file.name}],
        )
    rules = made["NetworkPolicy"]["spec"]["egress"]
    [world] = [one for one in rules if one["ports"] == [{"protocol": "TCP", "port": 443}]]
    # as relays' own policies have them: the API server refuses others
    assert [one["ipBlock"] for one in world["to"]] == [
        {"cidr": "0.0.0.0/0", "except": NOT_PUBLIC_V4},
        {"cidr": "::/0", "except": NOT_PUBLIC_V6},
    ]
    ports = [[port["port"] for port in rule["ports"]] for rule in rules]
    assert ports == [[53, 53], [443], *([[5432]] if database else [])]


def test_reports_may_go_to_named_addresses_alone() -> None:
    policy = objects(*REPORTS, "ledger.reports.cidrs={192.0.2.7/32}")["NetworkPolicy"]
    [world] = [one for one in policy["spec"]["egress"] if one["ports"][0]["port"] == 443]
    assert world["to"] == [{"ipBlock": {"cidr": "192.0.2.7/32"}}]


@pytest.mark.parametrize(
    "base",
    [
        *("http://proxy.test", "https://proxy.test:8443", "https://user:pass@proxy.test"),
        *("https://user@proxy.test", "https://proxy.test/v1", "proxy.test"),
    ],
)
def test_reports_are_asked_for_where_the_policy_lets_and_the_key_is_not_in_clear(base: str) -> None:
    command = ("template", "x", str(CHART), *flags(REPORTS))
    done = helm(*command, "--set", f"ledger.reports.sources[0].base={base}")
    assert "ledger/reports/sources/0/base" in done.stderr
    done = helm(*command, "--set", "ledger.reports.sources[0].base=https://proxy.test")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "value",
    [
        *("toolCallMebibytes", "pastDays", "openHours", "graceHours", "auditHours", "reports"),
        *("reports.sources", "reports.everyHours", "reports.mebibytes", "reports.cidrs"),
        *("payments", "payments.from"),
    ],
)
def test_without_a_value_that_an_older_ledger_did_not_have_the_default_holds(value: str) -> None:
    # keys that the chart makes would differ each time
    with_ledger = ("ledger.enabled=true", "ledger.keys.secretName=mine", "alerts.enabled=true")
    assert rendered(*with_ledger, f"ledger.{value}=null") == rendered(*with_ledger)


def test_months_that_records_may_still_come_for_are_kept() -> None:
    values = ["--set", "ledger.enabled=true,ledger.pastDays=90,ledger.keptDays=120"]
    done = helm("template", "x", str(CHART), *values)
    assert "it has to be ledger.pastDays and 31 (121) at least" in done.stderr


@pytest.mark.parametrize("values", [("ledger.enabled=true",), POSTGRESQL])
def test_a_prometheus_without_its_operator_finds_every_pod(values: tuple[str, ...]) -> None:
    [service] = [one for one in rendered(*values) if one["metadata"]["name"] == f"{NAME}-pods"]
    spec, pods = service["spec"], objects(*values)["Deployment"]["spec"]["template"]
    assert (service["kind"], spec["clusterIP"]) == ("Service", "None")
    # a pod that is not ready has something to tell as well
    assert spec["publishNotReadyAddresses"] is True
    assert spec["selector"].items() <= pods["metadata"]["labels"].items()
    [container] = pods["spec"]["containers"]
    [port] = spec["ports"]
    assert {"name": port["targetPort"], "containerPort": port["port"]} in container["ports"]
    page = (CHART.parents[1] / "docs/how-to/prometheus.md").read_text()
    assert f"names: [{NAME}-pods.relay-system.svc], type: A, port: {port['port']}," in page


def test_chart_operator_and_ledger_agree() -> None:
    environment = operator_environment(
        "ledger.enabled=true",
        "ledger.outboxMebibytes=128",
        "ledger.toolCallMebibytes=32",
        "ledger.outboxWhenFull=refuse",
        "ledger.outboxDrainSeconds=30",
    )
    fields = {name.removeprefix("OPERATOR_").lower(): value for name, value in environment.items()}
    settings = Settings.model_validate(fields)
    made = objects("ledger.enabled=true")
    assert settings.ledger_url == f"http://{NAME}.relay-system.svc:{INGEST_PORT}"
    assert (settings.outbox_mebibytes, settings.tool_call_mebibytes) == (128, 32)
    assert (settings.outbox_when_full, settings.outbox_drain_seconds) == ("refuse", 30)
    wanted = dict(one.split("=") for one in settings.ledger_pod_selector.split(","))
    assert wanted == made["Deployment"]["spec"]["selector"]["matchLabels"]
    assert wanted == made["Service"]["spec"]["selector"]
    [container] = pod_of(made)["containers"]
    own = {
        one["name"].removeprefix("RELAY_LEDGER_").lower(): one["value"] for one in container["env"]
    }
    assert set(own) <= set(LedgerSettings.model_fields)
    LedgerSettings.model_validate(own)
    assert {one["containerPort"] for one in container["ports"]} == {INGEST_PORT, 8091}
    key = base64.b64decode(made["Secret"]["data"]["keys"]).decode()
    assert read_keys(key).operator_token()


@pytest.mark.parametrize(
    ("values", "host"),
    [
        (("network.clusterDomain=k8s.example",), f"{NAME}.relay-system.svc"),
        # such servers are asked without a search list
        (("dns.nameservers={10.0.0.2}",), f"{NAME}.relay-system.svc.cluster.local"),
        (
            ("dns.nameservers={10.0.0.2}", "network.clusterDomain=k8s.example"),
            f"{NAME}.relay-system.svc.k8s.example",
        ),
    ],
)
def test_relays_find_it_by_a_name_that_their_dns_servers_can_know(
    values: tuple[str, ...], host: str
) -> None:
    environment = operator_environment("ledger.enabled=true", *values)
    assert environment["OPERATOR_LEDGER_URL"] == f"http://{host}:{INGEST_PORT}"


def test_keys_of_the_platforms_own_are_used_as_they_are() -> None:
    made = objects(
        "ledger.enabled=true", "ledger.keys.secretName=mine", "ledger.keys.secretKey=hmac"
    )
    assert "Secret" not in made
    [keys] = [one["secret"] for one in pod_of(made)["volumes"] if one["name"] == "keys"]
    assert keys["secretName"] == "mine"
    assert keys["items"] == [{"key": "hmac", "path": "keys"}]


@pytest.mark.parametrize("block", ["10.20.0.0/16", "2001:db8::/32", "64:ff9b::10.0.0.0/104"])
def test_ranges_of_both_kinds_reach_the_policy(block: str) -> None:
    made = objects(*POSTGRESQL, f"ledger.database.cidrs={{{block}}}")
    assert block in json.dumps(made["NetworkPolicy"])


@pytest.mark.parametrize(
    "value",
    [
        "ledger.enabled=yes",
        "ledger.replicas=0",
        "ledger.databases=x",
        "ledger.database.sqlite.size=much",
        "ledger.database.secretName=Not_A_Name",
        "ledger.database.secretKey=a b",
        "ledger.database.port=0",
        "ledger.database.cidrs[0]=10.0.0.5",
        *(
            f"{name}={block}"
            for name in (
                "ledger.database.cidrs[0]",
                "ledger.reports.cidrs[0]",
                "ledger.payments.from[0].ipBlock.cidr",
                "dns.cidrs[0]",
            )
            for block in ("::ffff:10.0.0.0/104", "0:0:0:0:0:FFFF:a00:0/104", "10.0.0.256/32")
        ),
        "ledger.keys.secretName=Not_A_Name",
        "ledger.outboxMebibytes=1",
        "ledger.outboxWhenFull=drop",
        "ledger.toolCallMebibytes=0",
        "ledger.outboxDrainSeconds=0",
        "ledger.keptDays=30",
        "ledger.pastDays=0",
        "ledger.openHours=0",
        "ledger.graceHours=841",
        "ledger.auditHours=0",
        "ledger.reports.everyHours=0",
        "ledger.reports.mebibytes=64",
        "ledger.reports.sources[0].provider=openai",
        "ledger.payments.to=x",
        "ledger.payments.from[0].namespace=shop",
        "ledger.payments.from[0].ipBlock.cidr=10.0.0.5",
    ],
)
def test_an_unknown_or_invalid_value_is_refused(value: str) -> None:
    done = helm("template", "x", str(CHART), "--set", value)
    assert "don't meet the specifications of the schema" in done.stderr
