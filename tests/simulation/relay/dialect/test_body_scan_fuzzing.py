"""The scan in C under mutated bodies, with sanitizers: no byte is read outside the text, no rule of C is broken.

FUZZ_SECONDS sets how long each of them runs (`make fuzz`); the seed is printed with a failure.
"""

import os
import random
import re
from pathlib import Path
from typing import Final

import pytest
from tests.simulation.relay.sanitizers import compiled, compiled_extension, run, run_module

from hatch_build import SOURCE_ROOT

DIALECT: Final = SOURCE_ROOT / "relay" / "dialect"
FUZZER: Final = Path(__file__).with_name("body_scan_fuzzer.c")
SECONDS: Final = os.environ.get("FUZZ_SECONDS", "3")


def assert_enough_was_tried(said: str, least: int) -> None:
    counted = re.fullmatch(r"(\d+) texts, (\d+) valid\n", said)
    assert counted is not None, said
    assert int(counted[1]) >= least
    assert int(counted[2]) > int(counted[1]) // 20


@pytest.mark.timeout(0)
@pytest.mark.parametrize("variant", [(), ("-DBODY_SCAN_PORTABLE",)], ids=["blocks", "portable"])
def test_mutated_bodies_break_no_rule_of_c(tmp_path: Path, variant: tuple[str, ...]) -> None:
    fuzzer = compiled(tmp_path / "fuzzer", f"-I{DIALECT}", *variant, str(FUZZER))
    said = run([str(fuzzer), SECONDS, "5000", str(random.randrange(2**31))])
    assert_enough_was_tried(said, 5_000)


@pytest.mark.timeout(0)
def test_mutated_bodies_are_read_alike_by_both_scans(tmp_path: Path) -> None:
    extension = compiled_extension(tmp_path, DIALECT / "_body_scan.c")
    module = "tests.simulation.relay.dialect.sanitized_body_scan"
    said = run_module(module, str(extension), SECONDS, "500", str(random.randrange(2**31)))
    assert_enough_was_tried(said, 500)
