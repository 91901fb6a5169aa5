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
    return printed(BODIES.format(first=first))


def printed(program: str) -> int:
    """Returns the number that a process of its own prints: the allocator's settings are a process's."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_the_memory_of_freed_bodies_serves_the_next_ones() -> None:
    assert page_faults("assert keep_freed_memory()") < 100 < page_faults("")


BATCHES = """
from pathlib import Path
from relay.process.allocator import give_back_freed_memory

def resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

{first}
# by default the allocator keeps on its heap what is as large as what was freed once
bytes(1024 * 1024)
before = resident_pages()
batches, small = [], []
for _ in range(30):
    batches.append(b"x" * 1024 * 1024)
    small.append(b"x" * 50_000)
del batches
print(resident_pages() - before)
"""


def kept_pages(first: str) -> int:
    """Returns the pages that a process keeps of 30 MiB of freed batches, with 1.5 MiB between them that are not freed."""
    return printed(BATCHES.format(first=first))


def test_a_process_that_is_to_stay_small_keeps_nothing_of_large_batches() -> None:
    assert kept_pages("assert give_back_freed_memory()") < 1000 < kept_pages("")
