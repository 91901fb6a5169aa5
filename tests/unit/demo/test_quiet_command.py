"""What of a long command's output is shown."""

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tests.demo import quiet_command
from tests.demo.commands import DemoFailed


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "[3/12] kubelet: building with go1.26.2 ...",
            "[3/12] kubelet: building with go1.26.2 ...",
        ),
        (
            "[3/12] kubelet: built in 95 s, 70 MB (300 s elapsed)\n",
            "[3/12] kubelet: built in 95 s, 70 MB (300 s elapsed)",
        ),
        ("installing Debian packages: runc", "installing Debian packages: runc"),
        (
            "compiling the relay's hot path, about 40 s",
            "compiling the relay's hot path, about 40 s",
        ),
        ("relay-operator:dev sha256:ab12 56 MB", "relay-operator:dev, 56 MB"),
        ("Reading package lists...", ""),
        ("Get:1 http://deb.example bookworm InRelease [151 kB]", ""),
        ("Setting up runc (1.1.5+ds1-1) ...", ""),
        ("", ""),
    ],
)
def test_progress_is_told_and_what_apt_prints_is_not(line: str, told: str) -> None:
    assert quiet_command.progress(line) == told


def run(script: str, log: Path) -> str:
    console = Console(file=io.StringIO(), force_terminal=False)
    command = [sys.executable, "-c", script]
    quiet_command.run(command, does="programs", console=console, log=log)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_milestones_are_lines_and_the_log_has_everything(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = (
        "import sys; print('Reading package lists...', file=sys.stderr);"
        "print('[1/2] etcd: still building, 30 s'); print('[1/2] etcd: built in 40 s')"
    )
    said = run(script, log).splitlines()
    assert said[0] == "  [1/2] etcd: built in 40 s"
    assert said[1].startswith("programs: done (")
    assert len(said) == 2
    assert "Reading package lists..." in log.read_text()


def test_a_command_that_fails_shows_the_end_of_its_output_and_where_all_of_it_is(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with pytest.raises(DemoFailed) as failed:
        run("print('no space left'); raise SystemExit(3)", log)
    assert "exit code 3" in str(failed.value)
    assert "no space left" in str(failed.value)
    assert str(log) in str(failed.value)
