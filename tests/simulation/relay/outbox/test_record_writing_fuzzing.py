"""The functions in C that write records, with sanitizers: no byte outside the record is touched, and every byte is as in Python.

FUZZ_SECONDS sets how long each run takes (`make fuzz`); the seed is printed with a failure.
"""

import os
import random
import re
from pathlib import Path
from typing import Final

import pytest
from tests.simulation.relay.sanitizers import compiled_extension, run_module

from hatch_build import SOURCE_ROOT

SOURCE: Final = SOURCE_ROOT / "relay" / "outbox" / "_record_writing.c"
SECONDS: Final = os.environ.get("FUZZ_SECONDS", "3")


@pytest.mark.timeout(0)
@pytest.mark.parametrize("variant", [(), ("-DRECORDS_PORTABLE",)], ids=["folded", "portable"])
def test_any_numbers_and_texts_are_written_alike(tmp_path: Path, variant: tuple[str, ...]) -> None:
    extension = compiled_extension(tmp_path, SOURCE, *variant)
    module = "tests.simulation.relay.outbox.sanitized_record_writing"
    said = run_module(module, str(extension), SECONDS, "300", str(random.randrange(2**31)))
    counted = re.fullmatch(r"(\d+) attempts, (\d+) written\n", said)
    assert counted is not None, said
    assert int(counted[1]) >= 300
    assert int(counted[2]) > int(counted[1]) // 8
