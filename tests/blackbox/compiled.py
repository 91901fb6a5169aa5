"""Compiles the relay as the image has it, so that the suite can run against it (`make test` does).

`python -m tests.blackbox.compiled` prints the directory that holds it, compiled once for these sources into the cache:
RELAY_BLACKBOX_COMMAND="env PYTHONPATH=DIRECTORY python -m relay".
"""

import hashlib
import sys
from pathlib import Path

from tests.built_once import built_once
from tests.cluster import paths

from hatch_build import PACKAGES, SOURCE_ROOT, compile_hot_path


def package() -> Path:
    """Returns a directory with the compiled package; compiles it if these sources have not been compiled yet."""
    digest = hashlib.sha256(sys.version.encode())
    files = (path for package in PACKAGES for path in (SOURCE_ROOT / package).rglob("*.*"))
    sources = [path for path in files if path.suffix in (".py", ".pyi", ".c", ".h")]
    for source in sorted([*sources, SOURCE_ROOT / "hatch_build.py"]):
        digest.update(str(source.relative_to(SOURCE_ROOT)).encode() + b"\0" + source.read_bytes())
    home = paths.cache_root() / "compiled" / digest.hexdigest()[:16]
    return built_once(home, compile_hot_path)


if __name__ == "__main__":
    sys.stdout.write(f"{package()}\n")
