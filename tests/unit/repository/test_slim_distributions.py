"""What is taken out of the image: generated classes of the Kubernetes client, on the disk and in the list of what was installed."""

from pathlib import Path

import pytest

from slim_distributions import GENERATED, slim

INFO = "kubernetes-37.0.2.dist-info"


def installed(place: Path) -> list[str]:
    """Installs a client of a few files, and returns their names."""
    folders = [Path(pattern).parent for pattern in GENERATED]
    files = [str(folder / name) for folder in folders for name in ("__init__.py", "core_v1_api.py")]
    files += ["kubernetes/client/rest.py", "kubernetes/aio/config/kube_config.py", "other/api/x.py"]
    for name in files:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("it\n")
    record = place / INFO / "RECORD"
    record.parent.mkdir()
    record.write_text("".join(f"{name},sha256=a,3\n" for name in (*files, f"{INFO}/RECORD")))
    return files


def test_generated_classes_go_with_their_lines_and_all_else_stays(tmp_path: Path) -> None:
    files = installed(tmp_path)
    assert slim(tmp_path) == 4 * len("it\n")
    left = {name for name in files if (tmp_path / name).exists()}
    assert left == {name for name in files if not name.endswith("core_v1_api.py")}
    record = (tmp_path / INFO / "RECORD").read_text()
    assert {line.split(",")[0] for line in record.splitlines()} == {*left, f"{INFO}/RECORD"}


def test_a_client_with_another_layout_is_no_silent_success(tmp_path: Path) -> None:
    installed(tmp_path)
    slim(tmp_path)
    with pytest.raises(ValueError, match="look where the client has them now"):
        slim(tmp_path)
