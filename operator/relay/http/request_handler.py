"""Declares the interface between a client's connection and the handler of its request."""

from abc import ABC, abstractmethod

from mypy_extensions import trait

from relay.http.problem import Problem


@trait
class RequestHandler(ABC):
    """Handles one request of a connection."""

    @abstractmethod
    def begin(self) -> None:
        """Called with the complete head; the handler may answer at once."""

    @abstractmethod
    def request_complete(self) -> None:
        """Called with the complete body."""

    @abstractmethod
    def unusable(self, problem: Problem) -> None:
        """Called when the request turns out unusable; the handler answers and finishes."""

    @abstractmethod
    def client_gone(self) -> None:
        """Called when the client has left; the handler ends without an answer."""

    @abstractmethod
    def pause(self) -> None:
        """Called when the client reads slower than the answer arrives."""

    @abstractmethod
    def resume(self) -> None:
        """Called when the client has read what was written."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Ends the request after an exception in its handling, whenever that was; frees everything it holds."""
