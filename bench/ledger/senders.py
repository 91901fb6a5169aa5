"""Relays that deliver: a thread each, one batch after another, each over one connection that stays open."""

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from tests.ledger.ledger_process import token_of
from tests.unit.relay_contract.billing.records import closed, opened

from relay_contract.billing.delivery import ATTEMPTS_PATH
from relay_contract.billing.event_line import event_line


def batches(tenant_uid: str, *, number: int, records: int, round_number: int) -> list[bytes]:
    """Returns bodies of so many records each: attempts, opened and closed."""
    now = time.time_ns() // 1000 - 60_000_000
    bodies = []
    for batch in range(number):
        lines: list[bytes] = []
        for place in range(records // 2):
            at = now + batch * 1000 + place
            name = f"r{round_number}-{batch}-{place}"
            same = {"tenant_uid": tenant_uid, "attempt_id": name, "dispatched_at": at}
            ended = at + 200_000 + place * 7919 % 3_000_000
            lines += [event_line(opened(**same)), event_line(closed(**same, closed_at=ended))]
        bodies.append(b"\n".join(lines))
    return bodies


@dataclass
class Delivered:
    """Holds what senders saw: seconds in all, and of each batch."""

    seconds: float = 0.0
    records: int = 0
    batch_seconds: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Returns records a second."""
        return self.records / self.seconds


class DeliveryFailed(Exception):
    """A batch that was not answered as it should be."""


def deliver(host: str, port: int, bodies: dict[str, list[bytes]]) -> Delivered:
    """Has every tenant's relay deliver its bodies at once; raises DeliveryFailed."""
    delivered = Delivered()
    failed: list[str] = []

    def run(tenant_uid: str, own: Sequence[bytes]) -> None:
        connection = http.client.HTTPConnection(host, port, timeout=60)
        headers = {"Authorization": f"Bearer {token_of(tenant_uid)}"}
        try:
            for body in own:
                began = time.monotonic()
                connection.request("POST", ATTEMPTS_PATH, body, headers)
                response = connection.getresponse()
                said = response.read()
                delivered.batch_seconds.append(time.monotonic() - began)
                if response.status != HTTPStatus.OK or b'"quarantined": 0' not in said:
                    failed.append(f"{response.status} {said[:200]!r}")
                    return
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=item) for item in bodies.items()]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    delivered.seconds = time.monotonic() - began
    if failed:
        raise DeliveryFailed(failed[0])
    delivered.records = sum(body.count(b"\n") + 1 for own in bodies.values() for body in own)
    return delivered
