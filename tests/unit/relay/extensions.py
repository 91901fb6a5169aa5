"""The relay's modules in C, built from these sources once into the cache."""

import hashlib
import sys
from pathlib import Path

from tests.built_once import built_once
from tests.cluster import paths
from tests.cluster.build import debian_packages

from hatch_build import SOURCE_ROOT, compile_extension


def extension(name: str) -> Path:
    """Returns the shared object of a module; builds it if these sources were not built yet."""
    source = Path(*name.split("."))
    digest = hashlib.sha256(f"{sys.version} {name}".encode())
    files = sorted((SOURCE_ROOT / source.parent).glob("_*.[ch]"))
    for file in (SOURCE_ROOT / "hatch_build.py", *files):
        digest.update(f"{file.name} {file.stat().st_size} ".encode() + file.read_bytes())

    def build(target: Path) -> None:
        debian_packages.ensure_compiler(print)
        compile_extension(name, target)

    home = built_once(paths.cache_root() / "extensions" / digest.hexdigest()[:16], build)
    [built] = (home / source.parent).glob(f"{source.name}.*.so")
    return built
