"""kind's command line, and our additions to it."""

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT_NAME = "kind"
KIND_VERSION = "0.32.0"
"""The release of kind whose command line this is."""
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Parses a Go duration such as 90s or 1m30s into seconds; a bare 0 is allowed. Raises ValueError."""
    if text == "0":
        return 0.0
    parts = DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write it like 90s or 5m")
    return sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)


def parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """Builds the parser. KIND_CLUSTER_NAME in environment is the default cluster name, as with kind.

    With RELAY_CLUSTER_AUDIT_LOG clusters are created with an audit log.
    """
    name = environment.get("KIND_CLUSTER_NAME") or DEFAULT_NAME
    top = argparse.ArgumentParser(
        prog="kind",
        description="kind's command line for the embedded cluster: real Kubernetes without Docker",
        allow_abbrev=False,
    )
    top.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    top.add_argument(
        "-v",
        "--verbosity",
        type=int,
        default=0,
        help="accepted for compatibility with kind; no effect",
    )
    top.add_argument("--version", action="version", version=f"kind version {KIND_VERSION}")
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND")
    verbs.add_parser("version", help="print the version")
    _create(verbs, name, audit_log=bool(environment.get("RELAY_CLUSTER_AUDIT_LOG")))
    _delete(verbs, name)
    _get(verbs, name)
    _export(verbs, name)
    _load(verbs, name)
    _build(verbs)
    _node_commands(verbs)
    verbs.add_parser("doctor", help="check whether this machine can run a cluster")
    return top


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """Parses the command line into verb, noun and options. Exits with kind's code 1 if it is wrong."""
    top = parser(environment)
    try:
        return top.parse_args(argv)
    except SystemExit as leaving:
        # argparse exits with 2, kind with 1
        raise SystemExit(1 if leaving.code else 0) from None


Verbs = Any
"""argparse keeps the type of its sub-parser collection private."""


def _nouns(verbs: Verbs, verb: str, description: str) -> Verbs:
    return verbs.add_parser(verb, help=description).add_subparsers(
        dest="noun", metavar="WHAT", required=True
    )


def _command(nouns: Verbs, noun: str, description: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = nouns.add_parser(
        noun, help=description, description=description, allow_abbrev=False
    )
    # kind takes these after the command as well
    command.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS)
    command.add_argument("-v", "--verbosity", type=int, default=argparse.SUPPRESS)
    return command


def _name(command: argparse.ArgumentParser, name: str) -> None:
    command.add_argument("-n", "--name", default=name, help=f"cluster name (default {name})")


def _kubeconfig(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--kubeconfig", help="this file instead of $KUBECONFIG or $HOME/.kube/config"
    )


def _create(verbs: Verbs, name: str, *, audit_log: bool) -> None:
    nouns = _nouns(verbs, "create", "create a cluster")
    cluster = _command(nouns, "cluster", "create a cluster and merge its kubeconfig")
    _name(cluster, name)
    _kubeconfig(cluster)
    cluster.add_argument(
        "--image", help="accepted for compatibility with kind: the version is built in"
    )
    cluster.add_argument("--config", help="a kind configuration file, - for standard input")
    cluster.add_argument("--wait", default="0s", help="time to wait for Ready, e.g. 60s")
    cluster.add_argument(
        "--retain", action="store_true", help="keep the node and its logs when creation fails"
    )
    cluster.add_argument(
        "--audit-log",
        action="store_true",
        default=audit_log,
        help="[not in kind] let the API server log what pods change",
    )


def _delete(verbs: Verbs, name: str) -> None:
    nouns = _nouns(verbs, "delete", "delete clusters")
    cluster = _command(nouns, "cluster", "delete a cluster and its kubeconfig entry")
    _name(cluster, name)
    _kubeconfig(cluster)
    clusters = _command(nouns, "clusters", "delete several clusters")
    clusters.add_argument("-A", "--all", action="store_true", help="delete all clusters")
    clusters.add_argument("names", nargs="*", metavar="NAME")
    _kubeconfig(clusters)


def _get(verbs: Verbs, name: str) -> None:
    nouns = _nouns(verbs, "get", "list clusters or nodes, print a kubeconfig")
    _command(nouns, "clusters", "list running clusters, one a line")
    nodes = _command(nouns, "nodes", "list the nodes of a cluster")
    _name(nodes, name)
    nodes.add_argument("-A", "--all-clusters", action="store_true")
    config = _command(nouns, "kubeconfig", "print the kubeconfig")
    _name(config, name)
    config.add_argument("--internal", action="store_true", help="with the node's own address")


def _export(verbs: Verbs, name: str) -> None:
    nouns = _nouns(verbs, "export", "export the kubeconfig or logs")
    config = _command(nouns, "kubeconfig", "merge the cluster's entry into the kubeconfig")
    _name(config, name)
    _kubeconfig(config)
    config.add_argument("--internal", action="store_true", help="with the node's own address")
    logs = _command(nouns, "logs", "copy the logs of components and pods")
    _name(logs, name)
    logs.add_argument("directory", nargs="?", metavar="DIRECTORY")


def _load(verbs: Verbs, name: str) -> None:
    nouns = _nouns(verbs, "load", "bring images into a cluster")
    images = _command(nouns, "docker-image", "load images built here (or by docker) by name")
    archives = _command(nouns, "image-archive", "load OCI archives or the output of docker save")
    for command, metavar in ((images, "IMAGE"), (archives, "ARCHIVE")):
        _name(command, name)
        command.add_argument("--nodes", help="comma-separated names of nodes; there is one")
        command.add_argument("images", nargs="+", metavar=metavar)


def _build(verbs: Verbs) -> None:
    nouns = _nouns(verbs, "build", "[not in kind] build programs and images of clusters")
    _command(nouns, "binaries", "build Kubernetes and its tools; prints their directory")
    images = _command(nouns, "images", "build this project's images")
    images.add_argument("--output", metavar="DIRECTORY", help="also write OCI archives there")
    images.add_argument("images", nargs="*", metavar="IMAGE", help="all when none is named")


def _node_commands(verbs: Verbs) -> None:
    enter = verbs.add_parser("exec", help="[not in kind] run a command on the node")
    enter.add_argument("name", metavar="NAME")
    enter.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    component = _nouns(verbs, "component", "[not in kind] stop, start or kill a component")
    for noun in ("stop", "start", "kill", "list"):
        command = _command(component, noun, f"{noun} a component of the node")
        command.add_argument("name", metavar="NAME")
        if noun != "list":
            command.add_argument("component", metavar="COMPONENT")
    logs = verbs.add_parser("logs", help="[not in kind] print the components' logs")
    logs.add_argument("name", metavar="NAME")
    logs.add_argument("component", nargs="?", metavar="COMPONENT")
