"""What the allocator keeps between calls."""

import subprocess
import sys

BODIES = """
import resource
from relay.process.allocator import keep_freed_memory

def faults_of_bodies():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bodies = [bytes(100_000) for _ in range(50)]
    del bodies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{first}
faults_of_bodies()
print(min(faults_of_bodies() for _ in range(3)))
"""


def page_faults(first: str) -> int:
    """Returns how many pages the kernel had to clear for 5 MB of bodies, after as many were freed."""
    done = subprocess.run(
        [sys.executable, "-c", BODIES.format(first=first)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_the_memory_of_freed_bodies_serves_the_next_ones() -> None:
    assert page_faults("assert keep_freed_memory()") < 100 < page_faults("")
