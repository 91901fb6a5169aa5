"""Documents on disk."""

from pathlib import Path

from relay.process.document_files import DocumentMount, StateFile


def test_a_mounted_document_is_read_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "relay.json"
    mount = DocumentMount(path)
    assert (mount.changed(), mount.read()) == (False, None)
    path.write_bytes(b"one")
    assert (mount.changed(), mount.changed(), mount.read()) == (True, False, b"one")
    replacement = tmp_path / "new"
    replacement.write_bytes(b"two")
    replacement.replace(path)
    assert (mount.changed(), mount.read()) == (True, b"two")


def test_the_kept_document_is_whole_or_the_former(tmp_path: Path) -> None:
    state = StateFile(tmp_path)
    assert state.read() is None
    state.write(b"one")
    state.write(b"two")
    assert state.read() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == [StateFile.NAME]
