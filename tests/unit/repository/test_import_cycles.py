"""No modules import each other in a circle; imports for type checkers alone count."""

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

PACKAGES = ("relay", "relay_contract", "relay_ledger", "relay_operator")


def graph_of(*packages: str) -> grimp.ImportGraph:
    return grimp.build_graph(*packages, exclude_type_checking_imports=False, cache_dir=None)


def cycle(graph: grimp.ImportGraph) -> list[str]:
    """Returns the modules of a circle of imports, or none."""
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("packages", [PACKAGES, ("tests.cluster",), ("tests.simulator",)])
def test_no_modules_import_each_other_in_a_circle(packages: tuple[str, ...]) -> None:
    assert cycle(graph_of(*packages)) == []


def test_a_planted_circle_is_found() -> None:
    graph = graph_of("relay_contract")
    graph.add_import(importer="relay_contract.document", imported="relay_contract.seal")
    assert set(cycle(graph)) == {"relay_contract.document", "relay_contract.seal"}
