"""Installs the stacks and tools of the benchmark once, below the cache: by lock, by compiler, by Debian."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.relay import places


class ToolMissing(Exception):
    """Something could not be installed; the message ends with the installer's output."""


def install() -> tuple[Path, Path, Path]:
    """Installs what is missing; returns the site of Envoy and LiteLLM, the relay's, and the provider's binary."""
    _debian({"wrk": "wrk", "cc": "gcc", "taskset": "util-linux"})
    return _rivals(), _relay(), _provider()


def _debian(commands: dict[str, str]) -> None:
    missing = sorted({package for name, package in commands.items() if shutil.which(name) is None})
    if missing:
        _run(["apt-get", "update", "-q"])
        _run(["apt-get", "install", "-y", "--no-install-recommends", *missing])


def _rivals() -> Path:
    lock = places.REPOSITORY / "bench" / "requirements.lock"
    return site("rivals", lock)


def _relay() -> Path:
    """Installs the relay as in the image: the locked dependencies and the wheel with the compiled hot path."""
    sources = sorted(
        path
        for package in ("relay", "relay_contract")
        for path in (places.REPOSITORY / "operator" / package).rglob("*.*")
        if path.suffix in (".py", ".pyi", ".c", ".h")
    )
    lock = places.REPOSITORY / "requirements.lock"
    target = site("relay-dependencies", lock)
    package = places.CACHE / f"relay-{_digest(*sources)}"
    if not package.exists():
        partial = package.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _say("compiling the relay's hot path (about a minute)")
        script = (
            "import sys; from pathlib import Path; from hatch_build import compile_hot_path;"
            "compile_hot_path(Path(sys.argv[1]))"
        )
        environment = {**os.environ, "PYTHONPATH": str(places.REPOSITORY / "operator")}
        _run([sys.executable, "-c", script, str(partial)], environment=environment)
        shutil.rmtree(partial / "build", ignore_errors=True)
        partial.rename(package)
    return Path(f"{package}{os.pathsep}{target}")


def _provider() -> Path:
    source = places.HERE / "upstream.c"
    binary = places.CACHE / f"upstream-{_digest(source)}"
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        _run(["cc", "-O2", "-o", str(binary), str(source)])
    return binary


def site(name: str, lock: Path) -> Path:
    """Installs what is locked, once; returns the directory to import it from."""
    target = places.CACHE / f"{name}-{_digest(lock)}"
    if not target.exists():
        _say(f"installing {lock.name} for {name}")
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        _run([*pip, "--requirement", str(lock), "--target", str(partial)])
        partial.rename(target)
    return target


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _run(command: list[str], *, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolMissing(f"{' '.join(command[:6])}: {(done.stdout + done.stderr)[-2000:]}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
