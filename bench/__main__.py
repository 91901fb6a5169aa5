"""Side-by-side benchmarks: `python -m bench` runs all, `python -m bench relay` one. Each closes with one line."""

import importlib
import sys
from pathlib import Path

BENCHES = sorted(path.parent.name for path in Path(__file__).parent.glob("*/__main__.py"))


def main(arguments: list[str]) -> int:
    """Exit code: 0 when every benchmark ran to its end."""
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
