"""The function in C that writes lines, with sanitizers: no byte outside the record is read, and every line is as in Python.

FUZZ_SECONDS sets how long the run takes (`make fuzz`); the seed is printed with a failure.
"""

from pathlib import Path
from typing import Final

import pytest
from tests.simulation.relay.sanitizers import assert_enough_was_tried, compiled_extension, fuzzed

from hatch_build import SOURCE_ROOT

SOURCE: Final = SOURCE_ROOT / "relay" / "outbox" / "_plain_lines.c"


@pytest.mark.timeout(0)
def test_any_record_is_written_alike_or_left_to_python(tmp_path: Path) -> None:
    extension = compiled_extension(tmp_path, SOURCE)
    said = fuzzed("tests.simulation.relay.outbox.sanitized_plain_lines", extension)
    assert_enough_was_tried(said, r"(\d+) records, (\d+) written\n", share=20)
