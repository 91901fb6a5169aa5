"""Messages between supervisor and workers arrive whole, however the socket cuts them."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.memory import MemoryTransport

from relay.process.worker_channel import Message, WorkerChannel

MESSAGES = st.lists(
    st.tuples(st.sampled_from(["metrics", "tripped", "drain"]), st.text(max_size=50)), max_size=8
)


def ignored() -> None:
    return


@given(MESSAGES, st.integers(1, 64))
def test_messages_arrive_in_order_whatever_the_reads_are(
    messages: list[tuple[str, str]], read_bytes: int
) -> None:
    wire, received = MemoryTransport(), list[Message]()
    sender, receiver = (
        WorkerChannel(received.append, ignored),
        WorkerChannel(received.append, ignored),
    )
    sender.connection_made(wire)
    for kind, text in messages:
        sender.send(kind, text=text)
    for start in range(0, len(wire.sent), read_bytes):
        receiver.data_received(wire.sent[start : start + read_bytes])
    assert received == [{"kind": kind, "text": text} for kind, text in messages]


def test_the_end_of_the_other_side_is_told_and_nothing_more_is_sent() -> None:
    lost: list[bool] = []
    wire = MemoryTransport()
    channel = WorkerChannel(lambda message: None, lambda: lost.append(True))
    channel.send("drain")  # not connected yet
    channel.connection_made(wire)
    channel.close()
    channel.send("drain")
    channel.connection_lost(None)
    assert (wire.sent, wire.closed, lost) == (b"", True, [True])
