from typing import Any

class Place:
    offset: int
    openings_end: int
    def __init__(self, segment: Any, offset: int, end: int, /) -> None: ...
    def write_opened(
        self,
        names: int,
        dispatched_at: int,
        attempt: int,
        stream: bool,
        call_id: str,
        request_id: str,
        /,
    ) -> bytes | None: ...
    def write_closed(
        self,
        names: int,
        opening: bytes,
        elapsed: int,
        status: int,
        outcome: int,
        source: int,
        flags: int,
        counts: bytes,
        answered_model: str | bytes | None,
        service_tier: str | bytes | None,
        region: str | bytes | None,
        upstream_request_id: str | bytes | None,
        /,
    ) -> bool: ...
    def release(self) -> None: ...
