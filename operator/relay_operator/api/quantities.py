"""Durations, amounts of resources and address blocks as the custom resources spell them, as fields of a spec."""

import ipaddress
import re
from decimal import ROUND_CEILING, Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from relay_operator.api.durations import seconds

Duration = Annotated[float, BeforeValidator(seconds)]


_AMOUNT = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_UNITS = {
    **{unit: Decimal(10) ** power for unit, power in zip("num", (-9, -6, -3), strict=True)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}

_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = ("k", "M", "G", "T", "P", "E")


def amount(text: object) -> Decimal:
    """Converts a Kubernetes quantity to a number, like 100m, 64Mi, 1e3 or 2.

    Raises ValueError for anything else, and for a negative one.
    """
    found = _AMOUNT.fullmatch(str(text))
    if found is None:
        raise ValueError(f"{text!r} is not an amount like 100m, 64Mi or 2")
    number, unit = found[1], found[2] or ""
    if unit in _UNITS:
        return Decimal(number) * _UNITS[unit]
    return Decimal(f"{number}{unit}")


def amount_text(number: Decimal) -> str:
    """Writes an amount as Kubernetes does: 1500m, 2, 96Mi, 500M; rounded up to thousandths.

    The API server changes any other spelling into this one (apimachinery/pkg/api/resource).
    """
    thousandths = int((number * 1000).to_integral_value(ROUND_CEILING))
    if thousandths % 1000:
        return f"{thousandths}m"
    whole = thousandths // 1000
    for base, units in ((1024, _BINARY), (1000, _DECIMAL)):
        if whole and whole % base == 0:
            power = 0
            while whole % base == 0 and power < len(units):
                whole, power = whole // base, power + 1
            return f"{whole}{units[power - 1]}"
    return str(whole)


def _block(text: str) -> str:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError("write an address block such as 203.0.113.0/24") from error
    if "%" in text:
        raise ValueError("write an address block without a zone")
    return text


Cidr = Annotated[str, AfterValidator(_block)]
