"""The function in C that reads most answers' usage, with sanitizers: whatever it reads at once is what all rules make of it.

FUZZ_SECONDS sets how long the run takes (`make fuzz`); the seed is printed with a failure.
"""

from pathlib import Path
from typing import Final

import pytest
from tests.simulation.relay.sanitizers import assert_enough_was_tried, compiled_extension, fuzzed

from hatch_build import SOURCE_ROOT

SOURCE: Final = SOURCE_ROOT / "relay" / "dialect" / "_body_scan.c"


@pytest.mark.timeout(0)
def test_any_usage_object_is_read_alike_or_left_to_the_rules(tmp_path: Path) -> None:
    extension = compiled_extension(tmp_path, SOURCE)
    said = fuzzed("tests.simulation.relay.dialect.sanitized_plain_usage", extension)
    assert_enough_was_tried(said, r"(\d+) usage objects, (\d+) read at once\n", share=8)
