"""Builds operator/Dockerfile with buildah, once for its inputs, and lists what is in the result."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.cluster import paths
from tests.cluster.build import debian_packages
from tests.cluster.images import debian, python

DOCKERFILE: Final = "operator/Dockerfile"
BASE: Final = "docker.io/library/debian:bookworm-slim"
IGNORED: Final = "operator/Dockerfile.dockerignore"
INPUTS: Final = (
    *("operator", "pyproject.toml", "README.md", "LICENSE"),
    *("requirements.lock", "requirements-dev.lock"),
)
ROOT: Final = "usr/local"
"""What the Dockerfile adds to Debian's Python."""


def contents() -> dict[str, Any]:
    """Returns the digests of the files below ROOT by path, and the image's configuration; builds it if its inputs changed."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + python.source_digest(INPUTS))
    digest.update((paths.REPOSITORY / IGNORED).read_bytes())
    home = paths.cache_root() / "by-dockerfile" / f"{digest.hexdigest()[:16]}.json"
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            found = _build(home.parent)
            partial = home.with_suffix(".partial")
            partial.write_text(json.dumps(found))
            partial.rename(home)
    read: dict[str, Any] = json.loads(home.read_text())
    return read


def listed(tar: Path, root: str = "") -> dict[str, str]:
    """Returns SHA-256 of each file in a tar, by its path; files that Python compiled are left out."""
    found = {}
    with tarfile.open(tar) as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            if entry.isfile() and name.startswith(root) and not name.endswith(".pyc"):
                content = archive.extractfile(entry)
                assert content is not None
                found[name] = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
    return found


def _build(work: Path) -> dict[str, Any]:
    debian_packages.install(
        [] if shutil.which("buildah") else ["buildah", "crun"],
        lambda line: print(line, file=sys.stderr),
    )
    with tempfile.TemporaryDirectory(dir=work, prefix="buildah.") as place:
        here = _Buildah(Path(place))
        _base(here)
        # uncompiled: that the hot path compiles is shown by the image that clusters get
        here.run(
            *("bud", "--quiet", "--pull-never", "--network", "host", "--layers=false"),
            *("--build-arg", "RELAY_COMPILE=0", "--ignorefile", IGNORED),
            *("--tag", "built", "--file", DOCKERFILE, "."),
        )
        container = here.run("from", "--pull-never", "built").strip()
        mount = Path(here.run("mount", container).strip())
        files = {}
        for file in (mount / ROOT).rglob("*"):
            if file.is_file() and not file.is_symlink() and file.suffix != ".pyc":
                name = str(file.relative_to(mount))
                files[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        config = json.loads(here.run("inspect", "--type=image", "built"))["OCIv1"]["config"]
        here.run("umount", container)
        here.run("rm", container)
    return {"files": files, "config": config}


def _base(here: "_Buildah") -> None:
    """Makes what Docker would pull: Debian with apt, which fetches as this machine does."""
    tar = here.place / "base.tar"
    command = ["mmdebstrap", "--quiet", "--variant=apt", "--include=ca-certificates"]
    debian.run([*command, debian.SUITE, str(tar)], "unpacking Debian for the Dockerfile")
    container = here.run("from", "scratch").strip()
    here.run("add", "--quiet", container, str(tar), "/")
    for file in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf"):
        if Path(file).exists():
            # pip is to trust and to find what pip on this machine does
            here.run("add", "--quiet", container, file, file)
    here.run("commit", "--quiet", "--rm", container, BASE)


class _Buildah:
    """buildah with a store of its own, which goes with its directory."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def run(self, *arguments: str) -> str:
        store = [f"--root={self.place}/store", f"--runroot={self.place}/run"]
        environment = {
            "STORAGE_DRIVER": "vfs",
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(self.place),
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME")},
        }
        return debian.run(
            ["buildah", *store, *arguments],
            f"buildah {arguments[0]}",
            cwd=paths.REPOSITORY,
            environment=environment,
        )
