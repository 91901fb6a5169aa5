"""Estimates the tokens of an attempt whose provider did not report them, by those that providers have counted before."""

from typing import Final

from relay.accounting.token_rates import LEAST_OUTPUT_TOKENS, LearntCall, ModelRates
from relay.calls.attempts.answer import Answer
from relay.calls.attempts.call import Call
from relay.dialect.reported_usage import HIDDEN_INPUT_TOKENS, Tokens
from relay.routing.routes import Target

_OUTPUT_BOUNDS: Final = frozenset({b"max_tokens", b"max_completion_tokens", b"max_output_tokens"})
"""Fields of a call that limit the length of its answer, unless a Provider has them dropped."""


def estimated_tokens(
    call: Call, target: Target, rates: ModelRates, answer: Answer | None, received_bytes: int
) -> Tokens:
    """Returns the tokens of an attempt whose answer has come so far, as they are estimated."""
    output = 0
    if answer is not None:
        pieces, text_bytes = answer.passed(received_bytes)
        output = rates.output_tokens(call.key_name, pieces=pieces, text_bytes=text_bytes)
    is_bound_known = _OUTPUT_BOUNDS.isdisjoint(target.dropped_parameters)
    output = call.estimate.bounded_output(output, is_bound_known=is_bound_known)
    given = rates.input_tokens(call.key_name, call.estimate)
    # as a reported number
    return Tokens(min(given, HIDDEN_INPUT_TOKENS + len(call.body.raw)), output)


def teach(
    call: Call, rates: ModelRates, answer: Answer, received_bytes: int, tokens: Tokens
) -> None:
    """Lets what the provider has counted of a whole answer teach what later attempts are estimated by."""
    if not rates.count_call():
        return
    pieces = text_bytes = 0
    if tokens.output >= LEAST_OUTPUT_TOKENS:
        pieces, text_bytes = answer.passed(received_bytes)
    rates.learn(
        LearntCall(
            call.key_name,
            tokens,
            call_bytes=0 if call.estimate.attachments else call.estimate.text_bytes,
            pieces=pieces,
            text_bytes=text_bytes,
        )
    )
