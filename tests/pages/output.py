"""Compares what a page shows with what a command printed: word by word, but loosely where a run differs from the next one."""

import re
from typing import Final

ANYTHING: Final = "..."
_DURATION: Final = re.compile(r"(?:\d+(?:d|h|m|s|ms))+")
_LONG_DURATION: Final = re.compile(r"(?:\b\d+ (?:d|h|min|s)\b ?)+")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def absent(shown: str, printed: str) -> list[str]:
    """Returns the lines of the page that the output does not have, in this order.

    Blanks count as one. Words that hold digits are alike if they are when every number and every duration is the same one
    (`1m5s`, `1 min 5 s`);
    `...` stands for any words, none included. Lines of the output that the page leaves out do not matter.
    """
    lines = [_words(line) for line in printed.splitlines()]
    missing, at = [], 0
    for line in shown.splitlines():
        wanted = _words(line)
        if not wanted or wanted == [ANYTHING]:
            continue
        found = next((n for n in range(at, len(lines)) if _alike(wanted, lines[n])), None)
        if found is None:
            missing.append(line)
        else:
            at = found + 1
    return missing


def _words(line: str) -> list[str]:
    return [_general(word) for word in _LONG_DURATION.sub("0s ", " ".join(line.split())).split()]


def _general(word: str) -> str:
    if word == ANYTHING:
        return word
    return _NUMBER.sub("0", _DURATION.sub("0s", word))


def _alike(wanted: list[str], words: list[str]) -> bool:
    if not wanted:
        return not words
    if wanted[0] == ANYTHING:
        return any(_alike(wanted[1:], words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and _same(wanted[0], words[0]) and _alike(wanted[1:], words[1:])


def _same(wanted: str, word: str) -> bool:
    """Returns whether a word is the wanted one; `sk-relay-...` is any word that begins so."""
    if wanted.endswith(ANYTHING):
        return word.startswith(wanted.removesuffix(ANYTHING))
    return wanted == word
