"""Faults of a client's request that show before its content is read."""

from enum import Enum, auto


class Problem(Enum):
    """A reason for which a connection cannot use a request. The request's handler decides how to answer."""

    BAD_REQUEST = auto()
    VERSION_NOT_SUPPORTED = auto()
    METHOD_UNKNOWN = auto()
    METHOD_NOT_ALLOWED = auto()
    URI_TOO_LONG = auto()
    HEADERS_TOO_LARGE = auto()
    BODY_TOO_LARGE = auto()
    BODY_MEMORY_FULL = auto()
    TIMEOUT = auto()
