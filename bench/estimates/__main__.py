"""`python -m bench.estimates`: how far estimates of the tokens of broken streams are off, and what a tokenizer in the relay would cost.

Texts are this repository's documentation, Python's own sources, JSON of the chart, and two pages in German and Chinese; each kind is the
text of one caller. Tokens are those of a public tokenizer (bpe-openai, pinned), installed below the cache. Nothing is timed but the
tokenizer's import.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from bench.estimates.comparison import PARTS, compared
from bench.estimates.streams import FORMS, Streams, splitter
from bench.relay import places
from bench.relay.tools import site

HERE: Final = Path(__file__).resolve().parent
SOURCES: Final = (
    "argparse.py",
    "tarfile.py",
    "typing.py",
    "subprocess.py",
    "asyncio/base_events.py",
)
WEIGHTS: Final = {"english": 5, "code": 2, "json": 1, "chinese": 1, "german": 1}
MODELS: Final = {"o200k_base": "a model of OpenAI", "voyage3_base": "a model of others"}
THOUGHTS: Final = 600
"""Median tokens of a model's thoughts, which are billed and not sent."""
_COST: Final = """
import sys, time
sys.path.insert(0, sys.argv[1])
def kibibytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4
before, began = kibibytes(), time.monotonic()
import bpe_openai
bpe_openai.get_encoding("o200k_base").encode("text")
print((kibibytes() - before) // 1024, time.monotonic() - began)
"""


def main() -> int:
    """Prints the cost of the tokenizer, and a table for each form of streams."""
    tokenizer = site("tokenizer", HERE / "tokenizer.lock")
    _print_cost(tokenizer)
    sys.path.insert(0, str(tokenizer))
    encodings: Any = importlib.import_module("bpe_openai")
    known = encodings.get_encoding("o200k_base")

    def count(text: str) -> int:
        return len(known.encode(text))

    kinds = {name: (text, WEIGHTS[name]) for name, text in texts().items()}
    for encoding, model in MODELS.items():
        tokens = splitter(encodings.get_encoding(encoding))
        cases = [(name, form, 0) for name, form in FORMS.items()]
        cases.append(("a token each, after thoughts", FORMS["a token each"], THOUGHTS))
        for name, form, thoughts in cases:
            streams = Streams(kinds, form, tokens, thoughts=thoughts)
            _say(f"\n### {model}, {name}\n")
            _print_rows(streams, {"OpenAI's tokenizer": count})
    return 0


def texts() -> dict[str, str]:
    """Returns a text of each kind, which every checkout has."""
    python = Path(json.__file__).parents[1]
    documents = sorted((places.REPOSITORY / "docs" / "adr").glob("*.md"))
    dashboards = sorted((places.REPOSITORY / "charts").rglob("dashboards/*.json"))
    loaded = [json.loads(path.read_text()) for path in dashboards]
    indented, tight = (
        json.dumps(loaded[:2], indent=1),
        json.dumps(loaded[2:], separators=(",", ":")),
    )
    return {
        "english": "\n".join(path.read_text() for path in documents),
        "code": "\n".join((python / name).read_text() for name in SOURCES),
        "json": indented[: len(tight)] + tight,
        "chinese": (HERE / "texts" / "chinese.txt").read_text(),
        "german": (HERE / "texts" / "german.txt").read_text(),
    }


def _print_rows(streams: Streams, tokenizers: dict[str, Any]) -> None:
    _say("| estimated by | " + " | ".join(f"{part:.0%} has come" for part in PARTS) + " | in all |")
    _say("|---|" + "---|" * (len(PARTS) + 1))
    for row in compared(streams, tokenizers):
        off = " | ".join(f"{row.off(part):.0f} %" for part in PARTS)
        _say(f"| {row.name} | {off} | {row.off_in_all:+.0f} % |")


def _print_cost(tokenizer: Path) -> None:
    size = sum(path.stat().st_size for path in tokenizer.rglob("*") if path.is_file())
    done = subprocess.run(
        [sys.executable, "-c", _COST, str(tokenizer)], capture_output=True, text=True, check=True
    )
    mebibytes, seconds = done.stdout.split()
    _say(
        f"estimates: tokenizer_mib={mebibytes} on_disk_mib={size / 2**20:.0f} import_seconds={float(seconds):.1f}"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
