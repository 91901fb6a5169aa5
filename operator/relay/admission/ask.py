"""The values of a call on which admission decides."""

from typing import Final, final

from relay_contract.document import Priority


@final
class Ask:
    """A call's request for admission. Frozen: a compiled class with Final attributes costs less than a dataclass.

    input_tokens and output_tokens are estimates, least_tokens are certain; without a figure, all of the estimate is. model is
    the name the caller gave.
    """

    __slots__ = (
        "input_tokens",
        "key",
        "key_weight",
        "least_tokens",
        "model",
        "output_tokens",
        "priority",
        "provider",
    )

    def __init__(
        self,
        *,
        key: str,
        key_weight: int,
        priority: Priority,
        model: str,
        provider: str,
        input_tokens: int,
        output_tokens: int,
        least_tokens: int | None = None,
    ) -> None:
        self.key: Final = key
        self.key_weight: Final = key_weight
        self.priority: Final = priority
        self.model: Final = model
        self.provider: Final = provider
        self.input_tokens: Final = input_tokens
        self.output_tokens: Final = output_tokens
        self.least_tokens: Final = (
            input_tokens + output_tokens if least_tokens is None else least_tokens
        )
