"""The scan in C under mutated bodies, with sanitizers: no byte is read outside the text, no rule of C is broken.

FUZZ_SECONDS sets how long each of them runs (`make fuzz`); the seed is printed with a failure.
"""

import os
import random
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import pytest
from tests.cluster.build import debian_packages

from hatch_build import SOURCE_ROOT

DIALECT: Final = SOURCE_ROOT / "relay" / "dialect"
FUZZER: Final = Path(__file__).with_name("body_scan_fuzzer.c")
SECONDS: Final = os.environ.get("FUZZ_SECONDS", "3")
SANITIZERS: Final = (
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
    *("-g", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"),
)


def compiled(target: Path, *arguments: str) -> Path:
    """Compiles with sanitizers and every warning an error."""
    debian_packages.ensure_compiler(print)
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    run([*compiler, *SANITIZERS, *arguments, "-o", str(target)])
    return target


def run(command: list[str], **environment: str) -> str:
    """Returns what the command says; fails the test with all of it if it fails."""
    variables = {**os.environ, **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr[-5000:]}"
    return done.stdout


def assert_much_was_tried(said: str, texts: int) -> None:
    counted = re.fullmatch(r"(\d+) texts, (\d+) valid\n", said)
    assert counted is not None, said
    assert int(counted[1]) > texts
    assert int(counted[2]) > texts // 20


@pytest.mark.timeout(0)
@pytest.mark.parametrize("variant", [(), ("-DBODY_SCAN_PORTABLE",)], ids=["blocks", "portable"])
def test_mutated_bodies_break_no_rule_of_c(tmp_path: Path, variant: tuple[str, ...]) -> None:
    fuzzer = compiled(tmp_path / "fuzzer", f"-I{DIALECT}", *variant, str(FUZZER))
    said = run([str(fuzzer), SECONDS, str(random.randrange(2**31))])
    assert_much_was_tried(said, 10_000)


@pytest.mark.timeout(0)
def test_mutated_bodies_are_read_alike_by_both_scans(tmp_path: Path) -> None:
    include = f"-I{sysconfig.get_path('include')}"
    source = str(DIALECT / "_body_scan.c")
    extension = compiled(tmp_path / "_body_scan.so", "-shared", "-fPIC", include, source)
    preloaded = run(["gcc", "-print-file-name=libasan.so"]).strip()
    module = "tests.simulation.relay.dialect.sanitized_body_scan"
    command = [sys.executable, "-m", module, str(extension), SECONDS, str(random.randrange(2**31))]
    paths = os.pathsep.join(filter(None, sys.path))
    # Python itself keeps memory until the process ends
    said = run(command, LD_PRELOAD=preloaded, ASAN_OPTIONS="detect_leaks=0", PYTHONPATH=paths)
    assert_much_was_tried(said, 1_000)
