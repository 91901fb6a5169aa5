"""Writes the dashboards into the chart."""

import sys

from tests.dashboards import generated


def main() -> int:
    """Writes each dashboard whose text is another than the file's."""
    for path, text in generated.files().items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"written: {path.relative_to(generated.ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
