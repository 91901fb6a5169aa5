"""Kubeconfig files: built for a cluster, merged into the user's file, removed from it.

As with kind and kubectl, the file is --kubeconfig, else the first existing one of KUBECONFIG (its last one if
none exists), else ~/.kube/config; it is locked by a file beside it while it changes; other entries stay as they are.
"""

import base64
import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from tests.cluster.errors import ClusterError

Config = dict[str, Any]

LOCK_SECONDS = 10.0
SECTIONS = ("clusters", "contexts", "users")


def context_name(cluster: str) -> str:
    """Returns the name that kind gives to a cluster's context, cluster and user entries."""
    return f"kind-{cluster}"


def for_user(certificates: Path, *, stem: str, server: str, context: str) -> Config:
    """Builds a kubeconfig with inline certificates; stem names the client's certificate and key files."""

    def inline(name: str) -> str:
        return base64.b64encode((certificates / name).read_bytes()).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "current-context": context,
        "clusters": [
            {
                "name": context,
                "cluster": {"server": server, "certificate-authority-data": inline("ca.crt")},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "users": [
            {
                "name": context,
                "user": {
                    "client-certificate-data": inline(f"{stem}.crt"),
                    "client-key-data": inline(f"{stem}.key"),
                },
            }
        ],
    }


def merged(existing: Config, added: Config) -> Config:
    """Returns existing with the entries of added, which replace those of the same name and become current."""
    result: Config = {"apiVersion": "v1", "kind": "Config", "preferences": {}, **existing}
    for section in SECTIONS:
        names = {entry["name"] for entry in added[section]}
        kept = [entry for entry in existing.get(section) or [] if entry.get("name") not in names]
        result[section] = [*kept, *added[section]]
    result["current-context"] = added["current-context"]
    return result


def without(existing: Config, context: str) -> Config:
    """Returns existing without everything named context; a current context of that name is unset."""
    result = dict(existing)
    for section in SECTIONS:
        entries = existing.get(section) or []
        result[section] = [entry for entry in entries if entry.get("name") != context]
    if existing.get("current-context") == context:
        result["current-context"] = ""
    return result


def names(config: Config, context: str) -> bool:
    """Returns whether config has an entry of this name."""
    return any(
        entry.get("name") == context for section in SECTIONS for entry in config.get(section) or []
    )


def candidates(explicit: str | None, environment: Mapping[str, str], home: Path) -> list[Path]:
    """Returns the files that kubectl would read, in order."""
    if explicit:
        return [Path(explicit)]
    listed = [Path(part) for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    return list(dict.fromkeys(listed)) or [home / ".kube" / "config"]


def destination(paths: Sequence[Path]) -> Path:
    """Returns the file for a new entry."""
    return next((path for path in paths if path.is_file()), paths[-1])


def read(path: Path) -> Config:
    """Returns the file's content, empty for a missing or empty file; raises ClusterError."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path} is not a kubeconfig (not YAML): repair or move it") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ClusterError(f"{path} is not a kubeconfig (not a mapping): repair or move it")
    return content


def write(path: Path, config: Config) -> None:
    """Writes config to path in one step, readable by its owner only.

    If path is a symbolic link, the file it points to changes.
    """
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(dump(config))
    temporary.replace(target)


def dump(config: Config) -> str:
    return yaml.safe_dump(config, sort_keys=False)


def add_entry(path: Path, added: Config) -> None:
    """Adds the entries of added to the file at path and makes them current."""
    with _locked(path):
        write(path, merged(read(path), added))


def remove_entry(paths: Sequence[Path], context: str) -> None:
    """Removes context from all files of paths; does not write files without it."""
    for path in paths:
        # the file may be absent or empty (pytest-kind creates an empty one), or not name the context
        if not path.is_file() or not names(read(path), context):
            continue
        with _locked(path):
            write(path, without(read(path), context))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds client-go's lock: a new file of the same name plus .lock."""
    lock = path.with_name(f"{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            break
        except FileExistsError as error:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{path} is locked by {lock}: if no kubectl or kind is running, remove that file"
                ) from error
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
