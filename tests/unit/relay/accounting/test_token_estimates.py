"""What a call will probably use."""

from relay.accounting.token_estimates import TokenEstimator
from relay.dialect.reported_usage import Tokens


def test_estimates_follow_what_calls_use_and_never_exceed_the_callers_bound() -> None:
    estimator = TokenEstimator()
    assert estimator.input_tokens("m", 4000) == 1001
    assert estimator.output_tokens("m", None) == 1024
    for _ in range(500):
        estimator.learn("m", body_bytes=1000, tokens=Tokens(500, 100))
    assert 450 <= estimator.input_tokens("m", 1000) <= 501
    assert 80 <= estimator.output_tokens("m", None) <= 160
    assert estimator.output_tokens("m", 7) == 7
    assert estimator.output_tokens("other", None) == 1024
