"""The relay as the image carries it, its hot path compiled: `python -m tests.blackbox.compiled` in place of `relay`.

RELAY_BLACKBOX_COMMAND="python -m tests.blackbox.compiled" runs the suite against it. The first start compiles, once for
these sources, into the cache.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from pathlib import Path

from tests.cluster import places

from relay.compilation import PACKAGE, compile_hot_path


def package() -> Path:
    """A directory that holds the compiled package; compiled now if these sources never were."""
    digest = hashlib.sha256(sys.version.encode())
    for source in sorted(PACKAGE.rglob("*.py")):
        digest.update(str(source.relative_to(PACKAGE)).encode() + b"\0" + source.read_bytes())
    home = places.cache_root() / "compiled" / digest.hexdigest()[:16]
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            partial = home.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            compile_hot_path(partial)
            partial.rename(home)
    return home


def main() -> None:
    """Becomes the relay."""
    built = package()
    if sys.argv[1:] == ["--build"]:
        sys.stdout.write(f"{built}\n")
        return
    environment = {**os.environ, "PYTHONPATH": str(built)}
    os.execve(sys.executable, [sys.executable, "-m", "relay"], environment)


if __name__ == "__main__":
    main()
