"""What the gain comes from: the winner's instruction alone, its demonstrations alone, both, on the same test rows."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mipro_walk.core.statistics import PairedComparison, compare_paired
from mipro_walk.types import Candidate, Outcome

CellName = Literal["baseline", "instruction only", "demonstrations only", "both"]
NO_TEST = "there was no final test"
NO_WINNER = "the search found nothing to take apart: the winner is the baseline"


@dataclass(frozen=True, slots=True)
class Cell:
    """One of the four prompts.

    Attributes:
        reused: no call was made for it: its prompt is the baseline or the winner of the final test.
        comparison: against the baseline on the rows that all four cells know, so each cell has the same ``n``.
    """

    name: CellName
    candidate: Candidate
    reused: bool
    comparison: PairedComparison


@dataclass(frozen=True, slots=True)
class Ablation:
    """Four scores on exactly the same rows; no cells and a reason in ``skipped`` where it was left out.

    Attributes:
        excluded: rows left out of all four scores because at least one of the four outcomes is unknown.
    """

    cells: tuple[Cell, ...] = ()
    excluded: int = 0
    skipped: str = ""

    @property
    def n(self) -> int:
        """Rows behind each of the four scores."""
        return self.cells[0].comparison.n if self.cells else 0


def cell_candidates(baseline: Candidate, winner: Candidate) -> dict[CellName, Candidate]:
    """Return the four prompts: each combination of the two instructions with the two demonstration sets.

    Of a program of several stages the instructions of all stages, and the demonstrations of all of them.
    """
    return {
        "baseline": baseline,
        "instruction only": _mixed(instructions=winner, demos=baseline),
        "demonstrations only": _mixed(instructions=baseline, demos=winner),
        "both": winner,
    }


def _mixed(*, instructions: Candidate, demos: Candidate) -> Candidate:
    """Return a prompt with the instructions of one and the demonstrations of the other, at every stage."""
    further = zip(instructions.further, demos.further, strict=True)
    return Candidate(instructions.instruction, demos.demos, tuple(_mixed(instructions=i, demos=d) for i, d in further))


def untested(tested: Container[Candidate], baseline: Candidate, winner: Candidate) -> list[Candidate]:
    """Return the prompts of the four that are not in ``tested``: none where the winner changes one thing only."""
    return [candidate for candidate in cell_candidates(baseline, winner).values() if candidate not in tested]


def ablate(
    answers: Mapping[Candidate, Sequence[Outcome]], baseline: Candidate, winner: Candidate, new: Container[Candidate]
) -> Ablation:
    """Compare the four prompts on the rows that all of them know.

    ``answers`` holds the outcomes of each prompt on the same rows in the same order; ``new`` are those that were
    asked for this alone.
    """
    cells = cell_candidates(baseline, winner)
    rows = zip(*(answers[candidate] for candidate in cells.values()), strict=True)
    common = [[o.score for o in row] for row in rows if all(o.is_known for o in row)]
    columns = {name: [row[index] for row in common] for index, name in enumerate(cells)}
    return Ablation(
        tuple(
            Cell(name, candidate, candidate not in new, compare_paired(columns["baseline"], columns[name]))
            for name, candidate in cells.items()
        ),
        excluded=len(answers[baseline]) - len(common),
    )
