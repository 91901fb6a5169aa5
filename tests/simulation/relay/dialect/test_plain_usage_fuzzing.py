"""The function in C that reads most answers' usage, with sanitizers: whatever it reads at once is what all rules make of it.

FUZZ_SECONDS sets how long the run takes (`make fuzz`); the seed is printed with a failure.
"""

import os
import random
import re
from pathlib import Path
from typing import Final

import pytest
from tests.simulation.relay.sanitizers import compiled_extension, run_module

from hatch_build import SOURCE_ROOT

SOURCE: Final = SOURCE_ROOT / "relay" / "dialect" / "_body_scan.c"
SECONDS: Final = os.environ.get("FUZZ_SECONDS", "3")


@pytest.mark.timeout(0)
def test_any_usage_object_is_read_alike_or_left_to_the_rules(tmp_path: Path) -> None:
    extension = compiled_extension(tmp_path, SOURCE)
    module = "tests.simulation.relay.dialect.sanitized_plain_usage"
    said = run_module(module, str(extension), SECONDS, "300", str(random.randrange(2**31)))
    counted = re.fullmatch(r"(\d+) usage objects, (\d+) read at once\n", said)
    assert counted is not None, said
    assert int(counted[1]) >= 300
    assert int(counted[2]) > int(counted[1]) // 8
