"""What can be wrong with a client's request before anybody reads what it asks for."""

from enum import Enum, auto


class Problem(Enum):
    """Why a connection cannot use a request. The request's handler decides how to answer it."""

    BAD_REQUEST = auto()
    VERSION_NOT_SUPPORTED = auto()
    METHOD_UNKNOWN = auto()
    METHOD_NOT_ALLOWED = auto()
    URI_TOO_LONG = auto()
    HEADERS_TOO_LARGE = auto()
    BODY_TOO_LARGE = auto()
    BODY_MEMORY_FULL = auto()
    TIMEOUT = auto()
