"""The bill of materials names what is installed, with its license, and is the same for the same content."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).resolve().parents[3] / "operator" / "bill_of_materials.py"
DISTRIBUTIONS = {
    "relay_operator": "License-Expression: Apache-2.0\n",
    "Some_Library": "License: MIT\n",
    "whole-text": "License: Copyright\n        all of it\nClassifier: License :: OSI Approved :: BSD License\n",
    "silent": "",
}


def written(directory: Path) -> bytes:
    for name, more in DISTRIBUTIONS.items():
        info = directory / "site" / f"{name}-1.2.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        shown = name.replace("_", "-") if name == "relay_operator" else name
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {shown}\nVersion: 1.2\n{more}"
        )
    (directory / "packages").write_text("libc6 2.36-9+deb12u10 amd64\n")
    output = directory / "out" / "sbom.cdx.json"
    command = [sys.executable, str(SCRIPT), "--distributions", str(directory / "site")]
    command += ["--packages", str(directory / "packages"), "--output", str(output)]
    subprocess.run(command, check=True)
    return output.read_bytes()


def test_every_part_is_named_with_its_version_and_license(tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(written(tmp_path))
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    product = found["metadata"]["component"]
    assert (product["name"], product["purl"]) == ("relay-operator", "pkg:pypi/relay-operator@1.2")
    assert product["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    parts = {one["purl"]: one.get("licenses") for one in found["components"]}
    assert parts == {
        "pkg:pypi/some-library@1.2": [{"license": {"id": "MIT"}}],
        "pkg:pypi/whole-text@1.2": [{"license": {"name": "BSD License"}}],
        "pkg:pypi/silent@1.2": None,
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=bookworm": None,
    }


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert written(tmp_path / "one") == written(tmp_path / "two")
