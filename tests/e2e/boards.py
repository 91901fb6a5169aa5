"""The chart's dashboards against the cluster's Prometheus: which of their questions have had an answer."""

import json
from collections.abc import Mapping

import yaml
from tests.dashboards.rare import VARIABLES
from tests.dashboards.reading import Asked, asked
from tests.demo import stage
from tests.demo.commands import Cluster
from tests.demo.view.api_proxy import ApiProxy

Name = tuple[str, str, str]
"""Dashboard, panel and legend."""


def questions(cluster: Cluster) -> list[Asked]:
    """Returns what the dashboards ask, as the chart makes them."""
    made = cluster.helm(
        "template", "relay-operator", str(stage.CHART), "--namespace", stage.OPERATOR_NAMESPACE,
        "--set", "dashboards.enabled=true", "--show-only", "templates/dashboards.yaml",
    )  # fmt: skip
    return [
        one for text in yaml.safe_load(made)["data"].values() for one in asked(json.loads(text))
    ]


def unanswered(
    cluster: Cluster, *, seconds: float, variables: Mapping[str, str] = VARIABLES
) -> list[Name]:
    """Returns the questions that Prometheus has had no series for in these last seconds."""
    chosen = {**variables, "__rate_interval": "30s"}
    empty = []
    with ApiProxy(cluster) as proxy:
        for one in questions(cluster):
            answer = proxy.ask_over(one.filled(chosen), seconds=seconds, step_seconds=2)
            if not answer["data"]["result"]:
                empty.append(one.name)
    return empty
