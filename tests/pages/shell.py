"""A shell into which the commands of a page are pasted, block by block."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.pages.blocks import Block

LOOK_SECONDS: Final = 0.1
END_SECONDS: Final = 5.0
ITS_OWN_END_SECONDS: Final = 10.0
_BACKGROUND: Final = re.compile(r"(?<!&)&[ ]*$", re.MULTILINE)
_SCRIPTS: Final = {
    "python": "python3 - <<'END-OF-BLOCK'\n{}END-OF-BLOCK",
    "yaml": "kubectl apply --dry-run=server -f - <<'END-OF-BLOCK'\n{}END-OF-BLOCK",
}
"""What is pasted for blocks that are no commands."""


class BlockFailed(Exception):
    """A block did not do what its page says; the message has the place, the commands and the output."""


@dataclass(slots=True)
class Shell:
    """What blocks share, as in one terminal: variables that are exported, the directory, and processes in the background.

    Each block is run by a bash of its own, which ends at the first command that fails.
    """

    directory: Path
    environment: Mapping[str, str]
    state: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, block: Block, *, seconds: float) -> str:
        """Runs a block and returns what it printed; raises BlockFailed if a command fails or it takes too long."""
        script = _SCRIPTS.get(block.language, "{}").format(block.text)
        with tempfile.NamedTemporaryFile() as printed:
            process = self._start(script, printed.fileno())
            code = self._watch(process, Path(printed.name), block, seconds)
            output = Path(printed.name).read_text(errors="replace")
        if code:
            told = f"ended with {code}" if code > 0 else f"was not done after {seconds:g} s"
            raise BlockFailed(f"{block.place} {told}\n{block.text}--- printed:\n{output}")
        return output

    def close(self) -> None:
        """Ends what blocks left in the background."""
        for process in self.started:
            for sign in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sign)
            process.wait()

    def _start(self, script: str, output: int) -> subprocess.Popen[bytes]:
        state = shlex.quote(str(self.state))
        whole = f"set -eo pipefail\n. {state}\n{script}\n{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {state}\n"
        self.state.touch()
        process = subprocess.Popen(
            ["bash", "-c", whole],
            cwd=self.directory,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def _watch(
        self, process: subprocess.Popen[bytes], printed: Path, block: Block, seconds: float
    ) -> int:
        """Returns the exit code once the shell has ended and, if asked for, the text is there; -1 if that takes too long.

        A shell that has printed the text is interrupted, as a reader does who has seen enough. One that leaves a program in the
        background, which would be interrupted with it, has some seconds to end by itself.
        """
        until, leaves_program = block.detail, _BACKGROUND.search(block.text) is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            code = process.poll()
            seen = until in printed.read_text(errors="replace")
            if code or (code == 0 and seen):
                return code
            if until and seen:
                if leaves_program:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        return process.wait(ITS_OWN_END_SECONDS)
                return self._interrupt(process)
            time.sleep(LOOK_SECONDS)
        return -1

    def _interrupt(self, process: subprocess.Popen[bytes]) -> int:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        return 0
