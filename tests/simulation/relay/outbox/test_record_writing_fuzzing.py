"""The functions in C that write records, with sanitizers: no byte outside the record is touched, and every byte is as in Python.

FUZZ_SECONDS sets how long each run takes (`make fuzz`); the seed is printed with a failure.
"""

from pathlib import Path
from typing import Final

import pytest
from tests.simulation.relay.sanitizers import assert_enough_was_tried, compiled_extension, fuzzed

from hatch_build import SOURCE_ROOT

SOURCE: Final = SOURCE_ROOT / "relay" / "outbox" / "_record_writing.c"


@pytest.mark.timeout(0)
@pytest.mark.parametrize("variant", [(), ("-DRECORDS_PORTABLE",)], ids=["folded", "portable"])
def test_any_numbers_and_texts_are_written_alike(tmp_path: Path, variant: tuple[str, ...]) -> None:
    extension = compiled_extension(tmp_path, SOURCE, *variant)
    said = fuzzed("tests.simulation.relay.outbox.sanitized_record_writing", extension)
    assert_enough_was_tried(said, r"(\d+) attempts, (\d+) written\n", share=8)
