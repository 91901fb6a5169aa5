"""The shell that pages are pasted into: state between blocks, waiting, what it leaves behind."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pages.blocks import Block
from tests.pages.shell import BlockFailed, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path, {"PATH": os.environ["PATH"]}, tmp_path / "state")
    yield made
    made.close()


def block(text: str, *, until: str = "", language: str = "sh") -> Block:
    mark = f'run: cluster, until "{until}"' if until else "run: cluster"
    return Block(page="page.md", line=7, language=language, text=text, mark=mark)


def test_exports_and_the_directory_last_from_block_to_block(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    shell.run(block('export WORD="two  words"; UNSEEN=1\ncd inner\n'), seconds=30)
    printed = shell.run(block('echo "$WORD/${UNSEEN:-none}/${PWD##*/}"\n'), seconds=30)
    assert printed == "two  words/none/inner\n"
    assert (
        shell.run(block("import os\nprint(os.environ['WORD'])\n", language="python"), seconds=30)
        == "two  words\n"
    )


@pytest.mark.parametrize("text", ["false\necho on\n", "false | cat\n", "exit 3\n"])
def test_a_block_fails_with_its_first_command(shell: Shell, text: str) -> None:
    with pytest.raises(BlockFailed, match=r"page\.md:7 ended with"):
        shell.run(block(text), seconds=30)


def test_a_command_without_an_end_is_left_when_it_has_shown_what_is_waited_for(
    shell: Shell,
) -> None:
    printed = shell.run(
        block("echo begun\nsleep 0.2\necho Promoted\nsleep 600\n", until="Promoted"), seconds=30
    )
    assert printed == "begun\nPromoted\n"


def test_a_command_without_an_end_is_left_although_another_runs_in_the_background(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.pages.shell.ITS_OWN_END_SECONDS", 0.5)
    text = "sleep 600 &\necho Promoted\nsleep 600\n"
    assert shell.run(block(text, until="Promoted"), seconds=30) == "Promoted\n"


def test_a_text_that_never_comes_fails_with_what_was_printed(shell: Shell) -> None:
    with pytest.raises(BlockFailed, match=r"was not done after 0\.5 s(?s:.)*only this"):
        shell.run(block("echo only this\nsleep 600\n", until="Promoted"), seconds=0.5)


@pytest.mark.parametrize("until", ["", "Forwarding"])
def test_what_runs_in_the_background_goes_on_and_ends_with_the_page(
    shell: Shell, tmp_path: Path, until: str
) -> None:
    ticks = tmp_path / "ticks"
    # as kubectl port-forward, which an interrupt ends, before the block is over
    tick = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_DFL); print('Forwarding', flush=True)"
    loop = "\nwhile True: open('ticks', 'a').write('tick\\n'); time.sleep(0.05)"
    shell.run(block(f'python3 -c "{tick}{loop}" &\nsleep 0.5\n', until=until), seconds=30)
    shell.run(block("true\n"), seconds=30)
    deadline = time.monotonic() + 30
    while not (ticks.exists() and ticks.stat().st_size > 20):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shell.close()
    size = ticks.stat().st_size
    time.sleep(0.3)
    assert ticks.stat().st_size == size
