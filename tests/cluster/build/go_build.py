"""Builds the Go programs once. Finished programs stay in the cache, so an interrupted build continues there."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import paths
from tests.cluster.build import go_programs
from tests.cluster.build.go_programs import MODULES, Module, Program
from tests.cluster.errors import ClusterError, ToolMissing

HEARTBEAT_SECONDS = 15.0
"""Interval of progress lines during a long compilation; CI services end silent jobs after minutes."""

GO_CANDIDATES = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go", "/usr/local/bin/go")

Say = Callable[[str], None]


def say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def find_go() -> Path:
    """Returns the go command, from PATH or the usual places; raises ToolMissing."""
    for candidate in (shutil.which("go"), *GO_CANDIDATES):
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    raise ToolMissing(f"go is not installed: {_go_advice()}")


def go_version(go: Path) -> str:
    """Returns the toolchain's version, e.g. go1.26.8; raises ToolMissing if our modules need a newer one."""
    said = subprocess.run(
        [str(go), "env", "GOVERSION"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode:
        raise ToolMissing(f"{go} does not run: {said.stderr.strip()}")
    version = said.stdout.strip()
    if go_programs.parse_go_version(version) < go_programs.required_go_version():
        raise ToolMissing(f"{go} is {version}, which is too old: {_go_advice()}")
    return version


def _go_advice() -> str:
    needed = ".".join(str(part) for part in go_programs.required_go_version())
    return (
        f"install Go {needed} or newer from go.dev/dl and put its bin directory on PATH "
        "(the golang packages of Debian bookworm and its backports are older)"
    )


def find_binaries() -> Path | None:
    """Returns the directory with every program if all are built, else None."""
    directory = go_programs.collection_directory(go_version(find_go()))
    wanted = [program.name for module in MODULES for program in module.programs]
    return directory if all((directory / name).exists() for name in wanted) else None


def ensure_binaries(say: Say = say_on_stderr) -> Path:
    """Builds the programs that are missing (all: 8 to 13 minutes on two cores); returns their directory."""
    go = find_go()
    version = go_version(go)
    collection = go_programs.collection_directory(version)
    wanted = [
        (module, program)
        for module in MODULES
        for program in module.programs
        if not (go_programs.module_directory(module, version) / program.name).exists()
    ]
    if wanted:
        with _only_builder(say) as lock:
            _Builder(go=go, version=version, lock=lock, say=say).build_all()
    _link(collection, version)
    return collection


def ensure_tool(module: Module, say: Say = say_on_stderr) -> Path:
    """Builds the one program of a module if it is missing; returns its path."""
    (program,) = module.programs
    return ensure_tools(module, say) / program.name


def ensure_tools(module: Module, say: Say = say_on_stderr) -> Path:
    """Builds the programs of a module that are missing; returns their directory."""
    go = find_go()
    version = go_version(go)
    built = go_programs.module_directory(module, version)
    if not all((built / program.name).exists() for program in module.programs):
        with _only_builder(say) as lock:
            _Builder(go=go, version=version, lock=lock, say=say).build_all((module,))
    return built


def sources(module: Module, path: str) -> Path:
    """Returns the directory with what a Go module has that this one requires; it is fetched if it is missing, by the checksum in go.sum."""
    command = [str(find_go()), "mod", "download", "-json", path]
    done = subprocess.run(
        command, cwd=module.path, env=_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ClusterError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])


@dataclass(frozen=True, slots=True)
class _Builder:
    """A build with one toolchain, which holds the lock (a file descriptor)."""

    go: Path
    version: str
    lock: int
    say: Say

    def build_all(self, modules: tuple[Module, ...] = MODULES) -> None:
        programs = [(module, program) for module in modules for program in module.programs]
        began = time.monotonic()
        for number, (module, program) in enumerate(programs, 1):
            target = go_programs.module_directory(module, self.version) / program.name
            label = f"[{number}/{len(programs)}] {program.name}"
            # another build may have finished this program while we waited for the lock
            if target.exists():
                self.say(f"{label}: already built")
                continue
            self.say(f"{label}: building with {self.version} ...")
            started = time.monotonic()
            self._compile(module, program, target, label)
            size = target.stat().st_size / 1e6
            self.say(
                f"{label}: built in {time.monotonic() - started:.0f} s, {size:.0f} MB "
                f"({time.monotonic() - began:.0f} s elapsed)"
            )

    def _compile(self, module: Module, program: Program, target: Path, label: str) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{program.name}.unfinished")
        command = [str(self.go), "build", *go_programs.BUILD_FLAGS, "-ldflags", module.linker_flags]
        log = target.with_name(f".{program.name}.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "-o", str(unfinished), program.package],
                cwd=module.path,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # if we are killed, the compiler goes on for a while and must keep the lock until it ends
                pass_fds=(self.lock,),
            )
            try:
                code = _wait(process, label, self.say)
            except BaseException:
                process.kill()
                process.wait()
                raise
        if code:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise ClusterError(f"building {program.name} failed with exit code {code}:\n{tail}")
        unfinished.rename(target)
        log.unlink()


def _wait(process: subprocess.Popen[bytes], label: str, say: Say) -> int:
    started = time.monotonic()
    while True:
        try:
            return process.wait(HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"{label}: still building, {time.monotonic() - started:.0f} s")


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        # Go derives its build cache from HOME, which may be unset
        "HOME": str(paths.home()),
        **go_programs.BUILD_ENVIRONMENT,
    }


def _link(collection: Path, version: str) -> None:
    collection.mkdir(parents=True, exist_ok=True)
    for module in MODULES:
        for program in module.programs:
            link = collection / program.name
            target = Path("..") / go_programs.module_directory(module, version).name / program.name
            if not link.exists():
                temporary = collection / f".{program.name}.{os.getpid()}"
                temporary.symlink_to(target)
                temporary.replace(link)


@contextlib.contextmanager
def _only_builder(say: Say) -> Iterator[int]:
    """Holds the cache's lock; a second build waits for the first and then finds its results."""
    root = paths.binaries_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another build is using {root}: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
