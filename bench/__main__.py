"""Runs the side-by-side benchmarks: all with `python -m bench`, one with `python -m bench relay`."""

import importlib
import sys
from pathlib import Path

BENCHES = sorted(path.parent.name for path in Path(__file__).parent.glob("*/__main__.py"))


def main(arguments: list[str]) -> int:
    """Runs the benchmarks; returns 0 if all of them completed."""
    unknown = [name for name in arguments if name not in BENCHES]
    if unknown:
        sys.stderr.write(f"there is no benchmark {unknown[0]}; there are {', '.join(BENCHES)}\n")
        return 2
    for name in arguments or BENCHES:
        sys.stdout.write(f"== bench {name}\n")
        sys.stdout.flush()
        code = importlib.import_module(f"bench.{name}.__main__").main()
        if code:
            return int(code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
