"""HTTP/1.1 on both sides of the relay: connections, parsing, pools, TLS.

Nothing here knows tenants, routes or models; llhttp (through httptools) parses, and what it leaves open is decided
here once, with the clause of RFC 9110 or 9112 beside it.
"""

# ruff: noqa: A005 - only ever imported as relay.http
