"""The scan in C under mutated bodies, with sanitizers: no byte is read outside the text, no rule of C is broken.

FUZZ_SECONDS sets how long each of them runs (`make fuzz`); the seed is printed with a failure.
"""

from pathlib import Path
from typing import Final

import pytest
from tests.simulation.relay.sanitizers import (
    SECONDS,
    assert_enough_was_tried,
    compiled,
    compiled_extension,
    drawn_seed,
    fuzzed,
    run,
)

from hatch_build import SOURCE_ROOT

DIALECT: Final = SOURCE_ROOT / "relay" / "dialect"
FUZZER: Final = Path(__file__).with_name("body_scan_fuzzer.c")
COUNTED: Final = r"(\d+) texts, (\d+) valid\n"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("variant", [(), ("-DBODY_SCAN_PORTABLE",)], ids=["blocks", "portable"])
def test_mutated_bodies_break_no_rule_of_c(tmp_path: Path, variant: tuple[str, ...]) -> None:
    fuzzer = compiled(tmp_path / "fuzzer", f"-I{DIALECT}", *variant, str(FUZZER))
    said = run([str(fuzzer), SECONDS, "5000", drawn_seed()])
    assert_enough_was_tried(said, COUNTED, least=5_000, share=20)


@pytest.mark.timeout(0)
def test_mutated_bodies_are_read_alike_by_both_scans(tmp_path: Path) -> None:
    extension = compiled_extension(tmp_path, DIALECT / "_body_scan.c")
    said = fuzzed("tests.simulation.relay.dialect.sanitized_body_scan", extension, least=500)
    assert_enough_was_tried(said, COUNTED, least=500, share=20)
