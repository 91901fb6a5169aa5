"""The leader that publishes: its number on documents and pushes, and what it learns of others."""

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_contract import leader_epoch
from relay_contract.document import Document
from relay_contract.seal import DocumentRejected


class Lead(Protocol):
    """The lead of this operator."""

    @property
    def epoch(self) -> int:
        """Its number; 0 of an operator that is alone by other means."""

    def rest_seconds(self) -> float:
        """Returns for how long this operator is certainly the leader; 0 or less when it may not be."""

    def note_epoch(self, epoch: int) -> None:
        """Takes in that a leader of this number has been, so that this one's has to be higher."""


class Alone:
    """The lead of an operator that is alone by other means than a Lease."""

    epoch = 0

    def rest_seconds(self) -> float:
        """Returns that this has no end."""
        return float("inf")

    def note_epoch(self, epoch: int) -> None:
        """Nothing follows."""


class Leadership:
    """Shows the lead, and learns of others from what our own signature proves."""

    def __init__(self, lead: Lead, signing_key: Ed25519PrivateKey) -> None:
        self._lead = lead
        self._signing_key = signing_key
        self._shown = (0, "")

    @property
    def epoch(self) -> int:
        """The number of this leader."""
        return self._lead.epoch

    @property
    def leads(self) -> bool:
        """Tells whether this operator is certainly the leader."""
        return self._lead.rest_seconds() > 0

    def shown(self) -> str:
        """Returns what a push shows of this leader."""
        epoch = self._lead.epoch
        if self._shown[0] != epoch:
            self._shown = epoch, leader_epoch.show(epoch, self._signing_key)
        return self._shown[1]

    def meet(self, known: Document) -> None:
        """Takes in a document of ours: whoever composed it has led."""
        self._lead.note_epoch(known.epoch)

    def hear_of(self, shown: str) -> None:
        """Takes in what a pod says that a later leader has shown to it, if anything; without our signature it says nothing."""
        if not shown:
            return
        try:
            epoch = leader_epoch.proven(shown, [self._signing_key.public_key()])
        except DocumentRejected:
            return
        self._lead.note_epoch(epoch)
