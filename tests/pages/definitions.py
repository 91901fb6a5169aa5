"""Custom resource definitions of other projects, out of their Go modules: what examples for them are checked by.

Their controllers do not run here. The versions are not pinned against a sum file, because nothing of them is executed.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.build import go_build
from tests.cluster.errors import ClusterError

SECONDS: Final = 240.0


@dataclass(frozen=True, slots=True)
class Published:
    """A module, and the files in it that define what the examples use."""

    module: str
    files: tuple[str, ...]


CERT_MANAGER: Final = (
    Published(
        "github.com/cert-manager/cert-manager@v1.21.2",
        (
            "deploy/crds/cert-manager.io_certificates.yaml",
            "deploy/crds/cert-manager.io_clusterissuers.yaml",
        ),
    ),
)
GITOPS: Final = (
    Published("github.com/argoproj/argo-cd/v3@v3.2.0", ("manifests/crds/application-crd.yaml",)),
    Published(
        "github.com/fluxcd/source-controller@v1.7.0",
        ("config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",),
    ),
    Published(
        "github.com/fluxcd/kustomize-controller@v1.7.3",
        ("config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml",),
    ),
    Published(
        "github.com/fluxcd/helm-controller@v1.4.0",
        ("config/crd/bases/helm.toolkit.fluxcd.io_helmreleases.yaml",),
    ),
)


def downloaded(published: tuple[Published, ...], directory: Path) -> list[Path]:
    """Returns the files, fetched with go where they are not in its cache; directory is empty and becomes no module."""
    command = [
        str(go_build.find_go()),
        "mod",
        "download",
        "-json",
        *(one.module for one in published),
    ]
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "GOWORK": "off", "GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    places = {f"{one['Path']}@{one['Version']}": one for one in _objects(done.stdout)}
    if done.returncode or set(places) != {one.module for one in published}:
        raise ClusterError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return [Path(places[one.module]["Dir"]) / file for one in published for file in one.files]


def _objects(text: str) -> list[dict[str, str]]:
    """Returns the JSON objects that stand one after the other in a text."""
    found, rest, decoder = [], text.lstrip(), json.JSONDecoder()
    while rest:
        one, end = decoder.raw_decode(rest)
        found.append(one)
        rest = rest[end:].lstrip()
    return found
