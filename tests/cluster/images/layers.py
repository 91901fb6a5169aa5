"""Layers: directory trees as deterministic tars, cached by their inputs."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.cluster import paths
from tests.cluster.images.archive import EPOCH_SECONDS, Layer

TAR = "layer.tar"
DESCRIPTION = "layer.json"
KEPT_LAYERS = 4


def key(name: str, *inputs: bytes) -> str:
    """Returns NAME and 16 hex digits of a digest over this file and the inputs, each delimited by its length."""
    digest = hashlib.sha256()
    for part in (Path(__file__).read_bytes(), *inputs):
        digest.update(f"{len(part)}:".encode())
        digest.update(part)
    return f"{name}-{digest.hexdigest()[:16]}"


def cached(layer_key: str, build: Callable[[Path], None]) -> Layer:
    """Returns the layer of this key; calls build with an empty directory for its tree if it is not in the cache.

    An interrupted build leaves nothing under the key. If several processes ask at once, one builds and the others
    wait.
    """
    root = paths.layers_root()
    home = root / layer_key
    found = read(home)
    if found is not None:
        # the time of last use decides which layers are removed
        os.utime(home)
        return found
    root.mkdir(parents=True, exist_ok=True)
    name = layer_key.rpartition("-")[0]
    with _only_builder(root / f".{name}.lock"):
        if not home.exists():
            _build(layer_key, build, root)
            _forget_oldest(name, root)
    built = read(home)
    assert built is not None
    return built


def _build(layer_key: str, build: Callable[[Path], None], root: Path) -> None:
    with tempfile.TemporaryDirectory(dir=root, prefix=f".{layer_key}.") as work:
        tree, unfinished = Path(work) / "tree", Path(work) / "finished"
        tree.mkdir(mode=0o755)
        unfinished.mkdir(mode=0o755)
        build(tree)
        _store(tree, unfinished)
        unfinished.rename(root / layer_key)


def _forget_oldest(name: str, root: Path) -> None:
    """Removes all layers of this name but those used last: every change of source adds one."""
    kept = [path for path in root.glob(f"{name}-*") if path.name.rpartition("-")[0] == name]
    kept.sort(key=lambda path: path.stat().st_mtime)
    for path in kept[:-KEPT_LAYERS]:
        shutil.rmtree(path)


def read(home: Path) -> Layer | None:
    """Returns the finished layer stored at home, None if there is none."""
    try:
        described = json.loads((home / DESCRIPTION).read_text())
    except FileNotFoundError:
        return None
    return Layer(home / TAR, described["sha256"], described["size"])


def _store(tree: Path, home: Path) -> None:
    write_tar(tree, home / TAR)
    with (home / TAR).open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    description = {"sha256": sha256, "size": (home / TAR).stat().st_size}
    (home / DESCRIPTION).write_text(json.dumps(description) + "\n")


def write_tar(tree: Path, target: Path) -> None:
    """Writes the tree to target: sorted, owned by root, without times, device files and sockets."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(_walk(tree)):
            _add(archive, path, tree)


def _walk(tree: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(tree):
        for name in (*names, *files):
            yield Path(directory) / name


def _add(archive: tarfile.TarFile, path: Path, tree: Path) -> None:
    status = path.lstat()
    entry = tarfile.TarInfo(str(path.relative_to(tree)))
    entry.mtime = EPOCH_SECONDS
    entry.mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    elif stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
        archive.addfile(entry)
    elif stat.S_ISREG(status.st_mode):
        # hard links become copies, so that equal content gives equal tars
        entry.size = status.st_size
        with path.open("rb") as content:
            archive.addfile(entry, content)


def put_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Writes content to path with this mode, whatever the umask; creates the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def readable_by_all(tree: Path) -> None:
    """Lets every user read all files and enter all directories: an image's process does not own its files."""
    for path in _walk(tree):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            path.chmod(0o755)
        elif stat.S_ISREG(mode):
            path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)


def copy_file(source: Path, target: Path, *, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


@contextlib.contextmanager
def _only_builder(lock_path: Path) -> Iterator[None]:
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
