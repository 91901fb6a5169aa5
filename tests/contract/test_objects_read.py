"""Compares the objects that tests and demo read over their own connection with those that kubectl prints."""

from typing import Any

import pytest
from tests.cluster.session.clients import Client
from tests.contract.kinds import LEAST
from tests.contract.test_custom_resources import API_VERSION
from tests.demo import objects_read
from tests.demo.commands import Cluster, DemoFailed, wait_until


@pytest.fixture
def asked(kubectl: Client, crds: None, namespace: str) -> Cluster:
    """Returns the session's cluster with a route, and a labelled object beside one without a label."""
    route = {"name": "read", "namespace": namespace}
    kubectl.apply(
        {
            "apiVersion": API_VERSION,
            "kind": "RelayRoute",
            "metadata": route,
            "spec": LEAST["RelayRoute"],
        },
        *(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
            }
            for name, labels in (("with", {"read": "yes"}), ("without", {}))
        ),
    )
    return Cluster("read", kubectl.kubeconfig, kubectl.program, kubectl.program)


@pytest.mark.parametrize(
    "question",
    [
        "namespaces",
        "ns {namespace}",
        "configmap with -n {namespace}",
        "cm -l read=yes -A",
        "cm -n {namespace} -l read!=yes",
        "relayroutes -A",
        "rroute read -n {namespace}",
        "relayroutes.relay-operator.dev read --namespace {namespace}",
        "events -A",
        "events.events.k8s.io -A",
        "deployments",
        "validatingadmissionpolicies",
        "crd tenants.relay-operator.dev",
    ],
)
def test_what_is_read_is_what_kubectl_prints(
    asked: Cluster, kubectl: Client, namespace: str, question: str
) -> None:
    words = question.format(namespace=namespace).split()

    def looks() -> tuple[Any, Any]:
        read = objects_read.reads(asked.kubeconfig).answer(words)
        printed = kubectl.json("get", *words)
        assert read is not None
        return read.get("items", read), printed.get("items", printed)

    # what the tests before have left is still changing
    same, _ = wait_until("two equal looks", looks, lambda two: two[0] == two[1], seconds=30)
    assert same or words[0] in ("deployments", "validatingadmissionpolicies")


@pytest.mark.parametrize(
    "question",
    [
        "cm,secrets -A",
        "configmap/with",
        "cm -A --show-managed-fields",
        "cm -A -o wide",
        "no-such-kind",
        "cm no-such-object",
        "--raw /version",
        "",
    ],
)
def test_what_is_not_known_is_left_to_kubectl(asked: Cluster, question: str) -> None:
    assert objects_read.reads(asked.kubeconfig).answer(question.split()) is None


def test_an_object_that_is_not_there_is_told_in_the_words_of_kubectl(asked: Cluster) -> None:
    with pytest.raises(DemoFailed, match=r'\(NotFound\): configmaps "no-such-object" not found'):
        asked.get("cm", "no-such-object")


def test_a_kind_that_came_later_is_found(asked: Cluster, kubectl: Client) -> None:
    reads = objects_read.reads(asked.kubeconfig)
    assert reads.answer(["namespaces"])
    names = {"plural": "laters", "singular": "later", "kind": "Later"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
    }
    kubectl.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "laters.read.example"},
            "spec": {
                "group": "read.example",
                "scope": "Cluster",
                "names": names,
                "versions": [version],
            },
        }
    )
    try:
        kubectl("wait", "crd/laters.read.example", "--for=condition=Established", "--timeout=30s")
        # the command waits until the kind is served
        kubectl("get", "laters")
        assert reads.answer(["laters"]) == {"apiVersion": "v1", "kind": "List", "items": []}
    finally:
        kubectl("delete", "crd", "laters.read.example", "--wait=false")


def test_without_a_cluster_kubectl_is_asked(asked: Cluster, kubectl: Client) -> None:
    gone = asked.kubeconfig.with_name("gone")
    with pytest.raises(DemoFailed, match="get namespaces"):
        Cluster("gone", gone, kubectl.program, kubectl.program).get("namespaces")
