"""Builds the plugin kubectl relay into dist/: one file that runs, its completion, an archive for krew and krew's manifest.

    python operator/plugin_build.py [--directory dist] [--archive-url https://.../kubectl-relay.tar.gz]

Equal sources give equal bytes. The standard library alone, so that it needs no environment.
"""

import argparse
import ast
import gzip
import hashlib
import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).resolve().parent
ROOT: Final = SOURCES.parent
PACKAGE: Final = "kubectl_relay"
OURS: Final = ("kubectl_relay", "relay_operator", "relay_contract")

PLUGIN: Final = "kubectl-relay"
COMPLETION: Final = "kubectl_complete-relay"
ARCHIVE: Final = "kubectl-relay.tar.gz"
MANIFEST: Final = "relay.yaml"

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that an entry of a zip file can have."""
_START: Final = b"""\
import sys

if sys.version_info < (3, 11):
    sys.exit("kubectl relay needs Python 3.11 or newer as python3, found %d.%d" % sys.version_info[:2])

from kubectl_relay.main import main

sys.exit(main(sys.argv[1:]))
"""
"""The beginning of the zip file, in words that older versions of Python understand too."""
_COMPLETION: Final = b"""\
#!/bin/sh
# kubectl calls this to complete "kubectl relay ..."; as a link to it stands alone, where krew has installed the plugin
plugin="$(dirname "$0")/kubectl-relay"
[ -x "$plugin" ] || plugin=kubectl-relay
exec "$plugin" __complete "$@"
"""
_MANIFEST: Final = """\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: relay
spec:
  version: v{version}
  shortDescription: Tenants of relay-operator and their canaries
  description: |
    Shows the story of a tenant and its routes on one screen, what moved a route and on which evidence, and the steps
    ahead with their earliest times. Approves, retries, pauses and takes back canaries by the annotations and fields
    that GitOps would write. Everything goes through your own kubectl, with your rights.
  caveats: |
    Needs Python 3.11 or newer on PATH as python3. For completion, put a link to {completion} of the plugin's directory
    on PATH.
  platforms:
  - selector:
      matchExpressions:
      - {{key: os, operator: In, values: [darwin, linux]}}
    uri: {url}
    sha256: {digest}
    files:
    - {{from: {plugin}, to: .}}
    - {{from: {completion}, to: .}}
    - {{from: LICENSE, to: .}}
    bin: {plugin}
"""


def zipapp() -> bytes:
    """Returns the plugin: a zip file with a first line that makes it run."""
    content = io.BytesIO()
    content.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(modules()):
            name = path.relative_to(SOURCES).as_posix()
            _add(archive, name, path.read_bytes())
        _add(archive, "__main__.py", _START)
    return content.getvalue()


def modules() -> set[Path]:
    """Returns the package's modules, and those of ours that they import."""
    found: set[Path] = set()
    waiting = sorted((SOURCES / PACKAGE).rglob("*.py"))
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += [file for name in _imported(path) for file in _files(name) if file not in found]
    return found


def archive(plugin: bytes) -> bytes:
    """Returns the archive that krew unpacks."""
    members = {
        PLUGIN: (plugin, 0o755),
        COMPLETION: (_COMPLETION, 0o755),
        "LICENSE": ((ROOT / "LICENSE").read_bytes(), 0o644),
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (data, mode) in sorted(members.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(content.getvalue(), mtime=0)


def manifest(packed: bytes, url: str) -> str:
    """Returns krew's manifest of an archive that is to be had at url."""
    return _MANIFEST.format(
        version=version(),
        url=url,
        digest=hashlib.sha256(packed).hexdigest(),
        plugin=PLUGIN,
        completion=COMPLETION,
    )


def version() -> str:
    """Returns the version that the plugin tells."""
    tree = ast.parse((SOURCES / PACKAGE / "version.py").read_text())
    assignment = next(node for node in tree.body if isinstance(node, ast.AnnAssign))
    return str(ast.literal_eval(assignment.value or ast.Constant("")))


def build(directory: Path, url: str) -> None:
    """Writes everything into a directory."""
    plugin = zipapp()
    packed = archive(plugin)
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in ((PLUGIN, plugin), (COMPLETION, _COMPLETION)):
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o755)
    (directory / ARCHIVE).write_bytes(packed)
    (directory / MANIFEST).write_text(
        manifest(packed, url or f"file://{directory.resolve() / ARCHIVE}")
    )


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_STORED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)


def _imported(path: Path) -> Iterator[str]:
    """Yields the modules of ours that a module imports, by every name that could be one."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.partition(".")[0] in OURS)


def _files(module: str) -> Iterator[Path]:
    """Yields the files of a module and of the packages that it is in."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        place = SOURCES.joinpath(*parts[:length])
        yield from (
            one for one in (place / "__init__.py", place.with_suffix(".py")) if one.is_file()
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--directory", type=Path, default=ROOT / "dist")
    parser.add_argument(
        "--archive-url",
        default="",
        help="where krew is to fetch the archive from; the built file if not given",
    )
    options = parser.parse_args()
    build(options.directory, options.archive_url)
    print(f"{options.directory / PLUGIN}: put the directory on PATH, then: kubectl relay status")  # noqa: T201 - as a build says it
    return 0


if __name__ == "__main__":
    sys.exit(main())
