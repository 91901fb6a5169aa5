"""Tokens that a provider's model makes of bytes and of pieces of a stream, learnt from what it reports, for attempts of which it reports nothing.

Medians over the latest calls: what is odd about fewer than half of them moves nothing. ADR 49 has what this was measured against.
"""

from collections.abc import Callable
from typing import Final

from relay.accounting.token_estimates import BYTES_PER_TOKEN, CallEstimate
from relay.dialect.reported_usage import Tokens

MOST_CALLS: Final = 64
"""Remembered of a model; the oldest is forgotten first."""
MOST_CALLS_OF_KEY: Final = 16
"""Of one key: odd texts of one caller shall not be all that the others are estimated by."""
LEAST_CALLS_OF_KEY: Final = 8
"""With so many the texts of a key's own calls say more than those of everybody."""
LEAST_CALLS: Final = 4
"""With fewer the documented ratio counts."""
EACH: Final = 31
"""After the first calls one in so many is learnt from, which costs nothing that can be measured. A prime, so that of callers who
take turns all are seen."""
LEAST_OUTPUT_TOKENS: Final = 16
"""Of a shorter answer the end of the stream and what is escaped in it count too much."""
LEAST_PER_BYTE: Final = 1 / 64
MOST_INPUT_PER_BYTE: Final = 1.0
"""A call whose input is more than its bytes names what it does not hold, such as a stored conversation."""
MOST_OUTPUT_PER_BYTE: Final = 4.0
"""Thoughts that are billed and not shown make an answer heavier than its text."""
LEAST_PER_PIECE: Final = 1 / 8
MOST_PER_PIECE: Final = 512.0
STEADIER: Final = 3.0
"""So many times steadier than bytes pieces have to be: those of one answer differ more than the means of many."""
MOST_THOUGHTS: Final = 65_536
_NONE: Final = -1.0
"""Stands for a ratio that a call does not have."""


class LearntCall:
    """What a call and its answer had, and what the provider counted.

    call_bytes is 0 where attachments make them no measure, pieces of an answer that is no stream, and text_bytes where nobody looked.
    """

    __slots__ = ("call_bytes", "key", "pieces", "text_bytes", "tokens")

    def __init__(
        self, key: str, tokens: Tokens, *, call_bytes: int, pieces: int, text_bytes: int
    ) -> None:
        self.key = key
        self.tokens = tokens
        self.call_bytes = call_bytes
        self.pieces = pieces
        self.text_bytes = text_bytes


class Rate:
    """A ratio that calls usually have, and by which part of it they usually differ. is_shown: it leaves out what the model thought."""

    __slots__ = ("is_shown", "spread", "usual")

    def __init__(self, usual: float, spread: float, *, is_shown: bool = False) -> None:
        self.usual = usual
        self.spread = spread
        self.is_shown = is_shown


class ModelRates:
    """One for each provider, model of it and endpoint, in each worker."""

    __slots__ = ("_calls", "_counted")

    def __init__(self) -> None:
        self._calls: list[LearntCall] = []
        self._counted = 0

    def count_call(self) -> bool:
        """Counts a call whose tokens were reported; returns whether it is to be learnt from."""
        self._counted += 1
        return self._counted <= MOST_CALLS or self._counted % EACH == 0

    def learn(self, call: LearntCall) -> None:
        """Remembers a call in place of the oldest, of its own key where that has enough."""
        calls = self._calls
        own = [place for place, other in enumerate(calls) if other.key == call.key]
        if len(own) >= MOST_CALLS_OF_KEY:
            del calls[own[0]]
        elif len(calls) >= MOST_CALLS:
            del calls[0]
        calls.append(call)

    def input_tokens(self, key: str, call: CallEstimate) -> int:
        """Estimates the input of a call; with attachments, and before anything was learnt, it is what was expected of it."""
        rate = None if call.attachments else self._rate(key, _input_per_byte)
        if rate is None:
            return call.input_tokens
        usual = min(max(rate.usual, LEAST_PER_BYTE), MOST_INPUT_PER_BYTE)
        return int(call.text_bytes * usual) + 1

    def output_tokens(self, key: str, *, pieces: int, text_bytes: int) -> int:
        """Estimates the output of an answer as far as it came, by its bytes, or by its pieces where tokens follow these more closely.

        pieces is 0 for an answer that is no stream. Thoughts that are billed and not shown are as many as usual, once any text has come.
        """
        if pieces <= 0 and text_bytes <= 0:
            return 0
        # pieces that are filled up to one length may hide how little text there is
        rate = self._steadier(key, _output_per_byte, _shown_per_byte) if text_bytes > 0 else None
        by_pieces = self._steadier(key, _output_per_piece, _shown_per_piece) if pieces else None
        if by_pieces is not None and (rate is None or by_pieces.spread * STEADIER <= rate.spread):
            rate = by_pieces
            shown = pieces * min(max(rate.usual, LEAST_PER_PIECE), MOST_PER_PIECE)
        elif rate is not None:
            shown = text_bytes * min(max(rate.usual, LEAST_PER_BYTE), MOST_OUTPUT_PER_BYTE)
        else:
            return documented_tokens(pieces, text_bytes)
        return round(shown) + (self._thoughts(key) if rate.is_shown else 0)

    def _steadier(
        self,
        key: str,
        whole: Callable[[LearntCall], float],
        shown: Callable[[LearntCall], float],
    ) -> Rate | None:
        """Returns the ratio of all output, or of what is left of it without thoughts if that differs less: then they are not shown."""
        of_all, of_shown = self._rate(key, whole), self._rate(key, shown)
        if of_all is None or of_shown is None or of_shown.spread >= of_all.spread:
            return of_all
        return Rate(of_shown.usual, of_shown.spread, is_shown=True)

    def _thoughts(self, key: str) -> int:
        known = self._known(key, _thought)
        return min(int(known[len(known) // 2]), MOST_THOUGHTS) if known else 0

    def _rate(self, key: str, ratio: Callable[[LearntCall], float]) -> Rate | None:
        ratios = self._known(key, ratio)
        if len(ratios) < LEAST_CALLS:
            return None
        usual = ratios[len(ratios) // 2]
        off = sorted(abs(one / usual - 1) for one in ratios)
        return Rate(usual, off[len(off) // 2])

    def _known(self, key: str, ratio: Callable[[LearntCall], float]) -> list[float]:
        """Returns the ratios of the key's calls in order, or those of all where it has too few."""
        known = [(call.key, ratio(call)) for call in self._calls]
        own = [one for name, one in known if one >= 0 and name == key]
        if len(own) >= LEAST_CALLS_OF_KEY:
            return sorted(own)
        return sorted([one for _, one in known if one >= 0])


def documented_tokens(pieces: int, text_bytes: int) -> int:
    """Returns a token for each piece, or for every four bytes where pieces are of eight and more: providers send one or several with each."""
    if not pieces:
        return text_bytes // BYTES_PER_TOKEN
    return pieces * max(1, text_bytes // pieces // BYTES_PER_TOKEN)


def _input_per_byte(call: LearntCall) -> float:
    return _ratio(call.tokens.input, call.call_bytes)


def _output_per_byte(call: LearntCall) -> float:
    return _ratio(call.tokens.output, call.text_bytes)


def _shown_per_byte(call: LearntCall) -> float:
    return _ratio(call.tokens.output - call.tokens.reasoning, call.text_bytes)


def _output_per_piece(call: LearntCall) -> float:
    return _ratio(call.tokens.output, call.pieces)


def _shown_per_piece(call: LearntCall) -> float:
    return _ratio(call.tokens.output - call.tokens.reasoning, call.pieces)


def _thought(call: LearntCall) -> float:
    return float(call.tokens.reasoning) if call.text_bytes or call.pieces else _NONE


def _ratio(tokens: int, size: int) -> float:
    return tokens / size if tokens > 0 and size > 0 else _NONE
