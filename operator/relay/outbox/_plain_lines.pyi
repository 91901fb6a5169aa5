from collections.abc import Callable

def plain_line(
    body: bytes, pieces: tuple[bytes, ...], digest: Callable[[bytes], str], /
) -> bytes | None: ...
