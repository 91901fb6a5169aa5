"""Has krew itself judge a plugin's manifest, and install the plugin."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.build import go_build
from tests.cluster.build.go_programs import KREW, KREW_VALIDATOR


@dataclass(frozen=True, slots=True)
class Krew:
    """krew as a plugin of kubectl, alone on PATH with it but for what Debian has."""

    programs: Path

    @classmethod
    def beside(cls, kubectl: Path, programs: Path) -> "Krew":
        """Makes the directory of programs."""
        programs.mkdir()
        (programs / "kubectl").symlink_to(kubectl)
        (programs / "kubectl-krew").symlink_to(go_build.ensure_tool(KREW))
        return cls(programs)

    def refusal(self, manifest: Path) -> str:
        """Returns what the validator of krew's index says against a manifest, empty if nothing.

        It installs the plugin for every platform, with the archive that the manifest names.
        """
        validator = go_build.ensure_tool(KREW_VALIDATOR)
        done = self._run(str(validator), f"-manifest={manifest}")
        return "" if done.returncode == 0 else done.stderr

    def install(self, manifest: Path, archive: Path, root: Path) -> None:
        """Installs a plugin from a local archive below root, where krew keeps its files."""
        arguments = ("install", f"--manifest={manifest}", f"--archive={archive}")
        done = self._run("kubectl", "krew", *arguments, root=root)
        assert done.returncode == 0, done.stderr

    def kubectl(self, *arguments: str, root: Path, path: Path | None = None) -> str:
        """Returns what kubectl prints with the plugins that are installed below root, and with a further directory on PATH."""
        done = self._run("kubectl", *arguments, root=root, path=path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _run(
        self, *command: str, root: Path | None = None, path: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        places = [path, root and root / "bin", self.programs, os.environ["PATH"]]
        environment = {"PATH": os.pathsep.join(str(place) for place in places if place)}
        if root:
            environment["KREW_ROOT"] = str(root)
        program = self.programs / command[0] if command[0] == "kubectl" else Path(command[0])
        return subprocess.run(
            [str(program), *command[1:]],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
