"""Listening on every address, on kernels with IPv6 and on those without."""

import errno
import socket

import pytest

from relay.process.traffic.listening import listening_socket


class Kernel:
    """Opens sockets as a kernel does that answers IPv6 with this error, at this step."""

    def __init__(self, *, step: str = "", error: int = 0) -> None:
        self._step = step
        self._error = error
        self.opened: list[KernelSocket] = []

    def socket(self, family: int, _: int) -> "KernelSocket":
        self.fail(family, "socket")
        opened = KernelSocket(self, family)
        self.opened.append(opened)
        return opened

    def fail(self, family: int, step: str) -> None:
        if family == socket.AF_INET6 and step == self._step:
            raise OSError(self._error, "as asked")


class KernelSocket:
    def __init__(self, kernel: Kernel, family: int) -> None:
        self._kernel = kernel
        self.family = family
        self.options: dict[int, int] = {}
        self.address: tuple[str, int] | None = None
        self.closed = False

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if level == socket.IPPROTO_IPV6:
            self.options[option] = value

    def bind(self, address: tuple[str, int]) -> None:
        self._kernel.fail(self.family, "bind")
        self.address = address

    def listen(self, backlog: int) -> None:
        assert backlog

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def close(self) -> None:
        self.closed = True


def opened_on(kernel: Kernel, monkeypatch: pytest.MonkeyPatch, host: str) -> KernelSocket:
    monkeypatch.setattr(socket, "socket", kernel.socket)
    listening_socket(host, 8080)
    return kernel.opened[-1]


def test_every_address_is_both_families_on_one_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = opened_on(Kernel(), monkeypatch, "::")
    assert (opened.family, opened.address) == (socket.AF_INET6, ("::", 8080))
    assert opened.options == {socket.IPV6_V6ONLY: 0}


@pytest.mark.parametrize(
    ("step", "error"),
    [("socket", errno.EAFNOSUPPORT), ("bind", errno.EADDRNOTAVAIL)],
    ids=["no module", "switched off"],
)
def test_a_kernel_without_ipv6_listens_on_ipv4(
    monkeypatch: pytest.MonkeyPatch, step: str, error: int
) -> None:
    kernel = Kernel(step=step, error=error)
    opened = opened_on(kernel, monkeypatch, "::")
    assert (opened.family, opened.address) == (socket.AF_INET, ("0.0.0.0", 8080))
    assert [other.closed for other in kernel.opened if other is not opened] == [True] * (
        len(kernel.opened) - 1
    )


def test_a_port_that_is_taken_is_no_reason_for_another_family(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(OSError, match="as asked"):
        opened_on(Kernel(step="bind", error=errno.EADDRINUSE), monkeypatch, "::")


def test_an_address_that_is_asked_for_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = opened_on(Kernel(), monkeypatch, "127.0.0.1")
    assert (opened.family, opened.address) == (socket.AF_INET, ("127.0.0.1", 8080))
