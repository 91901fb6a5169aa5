"""Removes from installed distributions what no process of the image imports: the generated classes of the Kubernetes client.

    python slim_distributions.py DIRECTORY

They are four fifths of all that is installed. The operator speaks to the API server in manifests, through the client's connections,
credentials and errors (relay_operator/cluster/api_server.py); the client loads a generated class when somebody asks for it by name.
"""

import sys
from pathlib import Path
from typing import Final

GENERATED: Final = tuple(
    f"kubernetes/{part}client/{kind}/*.py" for part in ("", "aio/") for kind in ("api", "models")
)
_KEPT: Final = "__init__.py"


def slim(directory: Path) -> int:
    """Removes them, and their lines in the lists of what was installed; returns how many bytes they had.

    Raises ValueError where there is nothing to remove: another version of the client has another layout.
    """
    removed, size = set[str](), 0
    for pattern in GENERATED:
        found = [path for path in directory.glob(pattern) if path.name != _KEPT]
        if not found:
            raise ValueError(f"{directory} has no {pattern}: look where the client has them now")
        for path in found:
            size += path.stat().st_size
            removed.add(path.relative_to(directory).as_posix())
            path.unlink()
    for record in directory.glob("kubernetes-*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if line.split(",")[0] not in removed))
    return size


if __name__ == "__main__":
    sys.stdout.write(f"{slim(Path(sys.argv[1])) / 1e6:.0f} MB removed\n")
