"""The commands. Results go to standard output, progress to standard error, as with kind.

Options carry say, which prints one line of progress (or drops it with --quiet).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.cluster import cluster_records, kubeconfig, paths
from tests.cluster.build import debian_packages, go_build
from tests.cluster.cli import configuration
from tests.cluster.cli.arguments import KIND_VERSION
from tests.cluster.cluster_records import ClusterRecord
from tests.cluster.errors import ClusterError
from tests.cluster.images import archive, catalogue, debian
from tests.cluster.lifecycle import clusters, doctor
from tests.cluster.lifecycle.api_server import ApiServer
from tests.cluster.node import control, image_import, namespaces
from tests.cluster.node.configuration_files import CONTAINERD_SOCKET

Options = argparse.Namespace


def version(_: Options) -> int:
    print(f"kind v{KIND_VERSION} embedded linux/{debian.architecture()}")
    return 0


def create_cluster(options: Options) -> int:
    plan = configuration.plan(
        options.config,
        name=options.name,
        wait=options.wait,
        retain=options.retain,
        audit_log=options.audit_log,
    )
    # report an unreadable kubeconfig before minutes are spent on the cluster
    kubeconfig.read(kubeconfig.destination(_kubeconfigs(options)))
    options.say(f'Creating cluster "{plan.name}" ...')
    try:
        record = clusters.create(plan, lambda line: options.say(f" • {line}"))
    except ClusterError as error:
        raise ClusterError(f"failed to create cluster: {error}") from error
    options.say(" ✓ Ready")
    _export(record, options)
    options.say(
        f"You can now use your cluster with:\n\nkubectl cluster-info --context {_context(record)}"
    )
    return 0


def delete_cluster(options: Options) -> int:
    return _delete([options.name], options)


def delete_clusters(options: Options) -> int:
    names = cluster_records.known_names() if options.all else options.names
    return _delete(names, options)


def _delete(names: list[str], options: Options) -> int:
    for name in names:
        options.say(f'Deleting cluster "{name}" ...')
        nodes = clusters.delete(name)
        kubeconfig.remove_entry(_kubeconfigs(options), kubeconfig.context_name(name))
        if nodes:
            quoted = " ".join(f'"{node}"' for node in nodes)
            options.say(f"Deleted nodes: [{quoted}]")
    return 0


def get_clusters(options: Options) -> int:
    names = [record.name for record in cluster_records.running()]
    if names:
        print("\n".join(names))
    else:
        options.say("No kind clusters found.")
    return 0


def get_nodes(options: Options) -> int:
    found = [r for r in cluster_records.running() if options.all_clusters or r.name == options.name]
    if found:
        print("\n".join(record.node_name for record in found))
    else:
        options.say(f'No kind nodes found for cluster "{options.name}".')
    return 0


def get_kubeconfig(options: Options) -> int:
    sys.stdout.write(kubeconfig.dump(_client_config(_located(options.name))))
    return 0


def export_kubeconfig(options: Options) -> int:
    _export(_located(options.name), options)
    return 0


def export_logs(options: Options) -> int:
    record = clusters.running(options.name)
    target = Path(options.directory or tempfile.mkdtemp(prefix="kind-logs-"))
    options.say(f'Exporting logs for cluster "{record.name}" to:')
    for part in ("logs", "podlogs"):
        shutil.copytree(record.directory / part, target / part, dirs_exist_ok=True)
    print(target)
    return 0


def load_docker_image(options: Options) -> int:
    record = _chosen_node(options)
    for name in options.images:
        image = catalogue.named(name)
        if image is not None:
            image_import.load(record, image)
        else:
            _load_from_docker(record, name)
        options.say(f'Image: "{name}" loaded into node "{record.node_name}"')
    return 0


def load_image_archive(options: Options) -> int:
    record = _chosen_node(options)
    for path in options.images:
        image_import.load_archive(record, Path(path))
    return 0


def build_binaries(options: Options) -> int:
    print(go_build.ensure_binaries(options.say))
    return 0


def build_images(options: Options) -> int:
    debian_packages.ensure(options.say)
    for image in catalogue.build(tuple(options.images)):
        megabytes = sum(layer.size for layer in image.layers) / 1e6
        line = f"{image.reference} sha256:{archive.manifest_digest(image)} {megabytes:.0f} MB"
        if options.output:
            line += f" {_write_archive(image, Path(options.output))}"
        print(line, flush=True)
    return 0


def run_on_node(options: Options) -> int:
    """Runs a command on the node in place of this process: terminal, signals and exit code are the command's."""
    record = clusters.running(options.name)
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    environment = {
        **namespaces.environment(),
        "PATH": f"{record.binaries}:{namespaces.SYSTEM_PATH}",
        "TERM": os.environ.get("TERM", "dumb"),
        "KUBECONFIG": str(record.directory / "admin.kubeconfig"),
        "CONTAINERD_ADDRESS": CONTAINERD_SOCKET,
        "CONTAINERD_NAMESPACE": "k8s.io",
    }
    command = namespaces.command(record, argv or ["/bin/sh"])
    os.execvpe(command[0], command, environment)


def component_stop(options: Options) -> int:
    return _control(options, control.Verb.STOP)


def component_start(options: Options) -> int:
    return _control(options, control.Verb.START)


def component_kill(options: Options) -> int:
    return _control(options, control.Verb.KILL)


def component_list(options: Options) -> int:
    record = clusters.running(options.name)
    reply = control.ask(record.directory, control.Request(control.Verb.STATUS))
    print(f"{'COMPONENT':<26}{'PID':>6}  {'RESTARTS':>8}  STATE")
    for status in reply.components:
        state = "running" if status.pid else "starting" if status.wanted else "stopped"
        print(f"{status.name:<26}{status.pid or '-':>6}  {status.restarts:>8}  {state}")
    return 0


def logs(options: Options) -> int:
    record = clusters.running(options.name)
    directory = record.directory / "logs"
    names = (
        [options.component] if options.component else sorted(p.stem for p in directory.iterdir())
    )
    for name in names:
        path = directory / f"{name}.log"
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in directory.iterdir()))
            raise ClusterError(f"there is no log of {name!r}: there are {known}")
        if not options.component:
            print(f"==> {name} <==")
        sys.stdout.write(path.read_text(errors="replace"))
    return 0


def examine(_: Options) -> int:
    """Prints what the machine lacks for a cluster; returns 1 if that prevents one."""
    findings = doctor.findings()
    for finding in findings:
        verdict = "ok" if not finding.problem else "missing" if finding.blocks else "note"
        print(f"{verdict:<8} {finding.subject}")
        if finding.problem:
            print(f"         {finding.problem}")
    return 1 if any(finding.problem and finding.blocks for finding in findings) else 0


def _control(options: Options, verb: control.Verb) -> int:
    record = clusters.running(options.name)
    control.ask(record.directory, control.Request(verb, options.component))
    return 0


def _context(record: ClusterRecord) -> str:
    return kubeconfig.context_name(record.name)


def _client_config(record: ClusterRecord) -> kubeconfig.Config:
    return kubeconfig.for_user(
        record.directory / "pki",
        stem="admin",
        server=ApiServer(record).url,
        context=_context(record),
    )


def _kubeconfigs(options: Options) -> list[Path]:
    return kubeconfig.candidates(options.kubeconfig, os.environ, paths.home())


def _export(record: ClusterRecord, options: Options) -> None:
    path = kubeconfig.destination(_kubeconfigs(options))
    kubeconfig.add_entry(path, _client_config(record))
    options.say(f'Set kubectl context to "{_context(record)}"')


def _located(name: str) -> ClusterRecord:
    """Returns the record of the running cluster; raises ClusterError in the words that kind uses here."""
    record = cluster_records.read(name)
    if record is None or not cluster_records.is_running(record):
        raise ClusterError(
            f"could not locate any control plane nodes for cluster named '{name}'. "
            "Use the --name option to select a different cluster"
        )
    return record


def _chosen_node(options: Options) -> ClusterRecord:
    record = clusters.running(options.name)
    for node in (options.nodes or record.node_name).split(","):
        if node != record.node_name:
            raise ClusterError(f'unknown node: "{node}"')
    return record


def _load_from_docker(record: ClusterRecord, name: str) -> None:
    """Loads an image from this machine's Docker engine; raises ClusterError if it has none of that name."""
    absent = ClusterError(f'image: "{name}" not present locally')
    if shutil.which("docker") is None:
        raise absent
    with tempfile.TemporaryDirectory(prefix="docker-save.") as work:
        path = Path(work) / "image.tar"
        saved = subprocess.run(
            ["docker", "save", "--output", str(path), name], capture_output=True, check=False
        )
        if saved.returncode:
            raise absent
        image_import.load_archive(record, path)


def _write_archive(image: archive.Image, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    name, _, tag = image.reference.rpartition("/")[2].partition(":")
    path = directory / f"{name}-{tag}.tar"
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as output:
        archive.write(image, output)
    unfinished.replace(path)
    return path


Command = Callable[[Options], int]

COMMANDS: dict[tuple[str, str | None], Command] = {
    ("version", None): version,
    ("create", "cluster"): create_cluster,
    ("delete", "cluster"): delete_cluster,
    ("delete", "clusters"): delete_clusters,
    ("get", "clusters"): get_clusters,
    ("get", "nodes"): get_nodes,
    ("get", "kubeconfig"): get_kubeconfig,
    ("export", "kubeconfig"): export_kubeconfig,
    ("export", "logs"): export_logs,
    ("load", "docker-image"): load_docker_image,
    ("load", "image-archive"): load_image_archive,
    ("build", "binaries"): build_binaries,
    ("build", "images"): build_images,
    ("exec", None): run_on_node,
    ("component", "stop"): component_stop,
    ("component", "start"): component_start,
    ("component", "kill"): component_kill,
    ("component", "list"): component_list,
    ("logs", None): logs,
    ("doctor", None): examine,
}
