"""Checks documents: the same for a pushed one, a mounted one and the one kept from before."""

from collections.abc import Iterable
from dataclasses import dataclass

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from relay.routing.snapshot import SnapshotRejected, compile_snapshot
from relay_contract import leader_epoch
from relay_contract.document import Document
from relay_contract.seal import DocumentRejected, unseal


@dataclass(frozen=True, slots=True)
class Accepted:
    """A document that passed every check. payload is its canonical text, envelope the text it came as."""

    document: Document
    digest: str
    payload: str
    envelope: bytes

    @property
    def generation(self) -> int:
        return self.document.generation


@dataclass(frozen=True, slots=True)
class Leader:
    """A leader that has shown itself to this pod. shown is how it did; empty when a document of its did, or nothing."""

    epoch: int = 0
    shown: str = ""


NOBODY = Leader()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The keys that this process trusts and the tenant that it serves."""

    public_keys: tuple[Ed25519PublicKey, ...]
    tenant_uid: str

    def leader(self, shown: str) -> Leader:
        """Reads who pushes; raises DocumentRejected with bad_signature. An operator that knows no leaders shows nothing."""
        return Leader(leader_epoch.proven(shown, self.public_keys), shown) if shown else NOBODY

    def judge(
        self,
        envelope: bytes,
        in_force: Accepted | None,
        *,
        brought_by: Leader = NOBODY,
        latest: Leader = NOBODY,
    ) -> Accepted:
        """Judges a sealed document; returns the one to put in force, `in_force` itself when it is the same again.

        brought_by is the leader that pushes it; for a mounted one the leader that composed it answers. latest is the leader
        before which all others are of the past.

        Raises DocumentRejected with bad_envelope, bad_signature, wrong_tenant, stale_epoch, stale_generation,
        conflicting_generation or invalid_document. The order matters: nothing is said about a document that no trusted
        key signed.
        """
        document, digest = unseal(envelope, self.public_keys)
        if document.tenant.uid != self.tenant_uid:
            raise DocumentRejected(
                "wrong_tenant",
                f"the document is for tenant UID {document.tenant.uid}, this relay serves {self.tenant_uid}",
            )
        if brought_by.epoch:
            # also with what is in force: so it learns at once that it is of the past
            _check_epoch(brought_by.epoch, latest)
        if in_force is not None and digest == in_force.digest:
            return in_force
        _check_epoch(max(document.epoch, brought_by.epoch), latest)
        if in_force is not None:
            _check_generation(document, in_force)
        try:
            compile_snapshot(document, digest)
        except SnapshotRejected as error:
            raise DocumentRejected("invalid_document", str(error)) from error
        return Accepted(document, digest, orjson.loads(envelope)["payload"], envelope)

    def newest(self, envelopes: Iterable[bytes], *, latest: Leader = NOBODY) -> Accepted | None:
        """Returns the acceptable one with the highest generation; unacceptable ones are passed over.

        The first may be of any leader: what was in force stays, and a document of the past is better than none.
        """
        newest: Accepted | None = None
        for envelope in envelopes:
            try:
                newest = self.judge(envelope, newest, latest=latest if newest else NOBODY)
            except DocumentRejected:
                continue
        return newest


def _check_epoch(epoch: int, latest: Leader) -> None:
    if epoch < latest.epoch:
        raise DocumentRejected(
            "stale_epoch",
            f"it comes from leader {epoch}, and leader {latest.epoch} has shown itself: only what that one brings is taken",
        )


def _check_generation(document: Document, in_force: Accepted) -> None:
    if document.generation < in_force.generation:
        raise DocumentRejected(
            "stale_generation",
            f"generation {document.generation} is older than {in_force.generation}, which is in force",
        )
    if document.generation == in_force.generation:
        raise DocumentRejected(
            "conflicting_generation",
            f"generation {document.generation} is in force with another digest",
        )
