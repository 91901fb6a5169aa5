"""The canary's state diagram in docs/architecture.md is the one that its table of moves gives."""

from pathlib import Path

from relay_operator.decisions.canary.state import MOVES, Phase

PAGE = Path(__file__).resolve().parents[3] / "docs" / "architecture.md"
ANY = "AnyPhase"


def picture() -> str:
    """Returns the diagram: moves open to every phase once, from AnyPhase, and the other moves one by one."""
    common = frozenset.intersection(*(targets | {phase} for phase, targets in MOVES.items()))
    edges = [(ANY, target) for target in Phase if target in common]
    edges += [
        (phase, target)
        for phase in Phase
        for target in Phase
        if target in MOVES[phase] - common - {phase}
    ]
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.STABLE}"]
    lines += [f"    {source} --> {target}" for source, target in edges]
    return "\n".join(["```mermaid", *lines, "```"])


def test_the_diagram_is_the_one_of_the_table() -> None:
    assert picture() in PAGE.read_text(), f"put this into docs/architecture.md:\n{picture()}"


def test_every_phase_may_stay_as_the_page_says() -> None:
    assert [phase for phase, targets in MOVES.items() if phase not in targets] == []
