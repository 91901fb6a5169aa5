"""Writes the image's bill of materials: CycloneDX 1.6 in JSON, from the distributions and packages that are installed in it.

    python bill_of_materials.py --distributions DIRECTORY... --packages FILE --output FILE

FILE of packages has a line `NAME VERSION ARCHITECTURE` for each of Debian's. Equal content gives equal bytes: no time, no random number.
"""

import argparse
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

PRODUCT: Final = "relay-operator"
SUITE: Final = "bookworm"
_ANY: Final = uuid.UUID("6f6c9b0e-5f0e-5c6d-9a55-0d8f6f1f2a11")
"""Names the family of our serial numbers."""
_STATED: Final = ("License-Expression", "License")


def bill(installed: Iterable[Distribution], packages: Iterable[str]) -> Bom:
    """Returns the bill of these distributions of Python and packages of Debian."""
    parts = {str(part.purl): part for part in _parts(installed, packages)}
    product = next(part for part in parts.values() if part.name == PRODUCT)
    text = "\n".join(sorted(parts))
    return Bom(
        serial_number=uuid.uuid5(_ANY, text),
        components=[part for part in parts.values() if part is not product],
        metadata=BomMetaData(component=product, timestamp=datetime.fromtimestamp(0, tz=UTC)),
    )


def _parts(installed: Iterable[Distribution], packages: Iterable[str]) -> Iterator[Component]:
    for one in installed:
        purl = PackageURL("pypi", None, one.name.lower().replace("_", "-"), one.version)
        yield Component(
            name=one.name,
            version=one.version,
            type=ComponentType.APPLICATION if one.name == PRODUCT else ComponentType.LIBRARY,
            purl=purl,
            bom_ref=str(purl),
            licenses=_licenses(one),
        )
    for line in packages:
        name, version, architecture = line.split()
        where = {"arch": architecture, "distro": SUITE}
        purl = PackageURL("deb", "debian", name, version, where)
        yield Component(name=name, version=version, purl=purl, bom_ref=str(purl))


def _licenses(one: Distribution) -> list[License]:
    """Returns the license that a distribution states: an SPDX expression (PEP 639), or words of its own."""
    told = next(
        (value for field in _STATED for value in one.metadata.get_all(field) or () if value), ""
    )
    known = [
        line.rpartition(" :: ")[2]
        for line in one.metadata.get_all("Classifier") or ()
        if line.startswith("License :: ")
    ]
    # some put the whole text there
    stated = told if told and "\n" not in told else " AND ".join(known)
    return [LicenseFactory().make_from_string(stated)] if stated else []


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--distributions", nargs="+", required=True, metavar="DIRECTORY")
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found = bill(
        distributions(path=options.distributions), options.packages.read_text().splitlines()
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(JsonV1Dot6(found).output_as_string(indent=1))


if __name__ == "__main__":
    main()
