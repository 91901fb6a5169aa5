"""The commands of `relay-ledger`, run in this process."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.ledger.ledger_process import environment

from relay_ledger.commands import command_line


@dataclass(frozen=True)
class Shell:
    """Runs commands in this process, as they would run in one of their own."""

    directory: Path
    patch: pytest.MonkeyPatch
    captured: pytest.CaptureFixture[str]

    def run(self, address: str, *arguments: str, **settings: str) -> tuple[int, str, str]:
        for name, value in environment(address, self.directory, **settings).items():
            self.patch.setenv(name, value)
        self.captured.readouterr()
        try:
            code = command_line.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self.captured.readouterr()
        return code, said.out, said.err
