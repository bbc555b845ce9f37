"""The ablation: four prompts on the same test rows, two of them already paid for by the final test."""

from __future__ import annotations

from collections import Counter

import pytest

from mipro_walk.core.ablation import NO_TEST, NO_WINNER, ablate, cell_candidates
from mipro_walk.core.evaluation import CANCELLED, COST
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.plan import make_plan
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.types import Candidate, Demonstration, Outcome
from tests.fakes.landscape import Landscape, ScriptedProposer, make_task

DEMO = (Demonstration("where is my card", "card"),)
BASELINE, WINNER = Candidate("Sort."), Candidate("Sort well.", DEMO)
RIGHT, WRONG, UNKNOWN = Outcome(1.0, "card"), Outcome(0.0, "pin", "wrong"), Outcome(None, None, "failed")


def run(landscape, stops=None, **settings):
    events = []
    given = OptimizerSettings(**{"num_demos": 3, **settings})
    result = optimize(make_task(), landscape, ScriptedProposer(), given, stops=stops, emit=events.append)
    return result, events


def asked(landscape):
    """Return the candidates that were asked about test rows, with the seeds of those rows."""
    seeds: dict[Candidate, list[int]] = {}
    for rollout in landscape.history:
        if rollout.split == "test":
            seeds.setdefault(rollout.candidate, []).append(rollout.seed)
    return seeds


class StopOnceTested:
    """Stops for ``reason`` as soon as a test row was asked about."""

    def __init__(self, landscape, reason):
        self.landscape, self.reason = landscape, reason

    def check(self):
        return self.reason if asked(self.landscape) else None


def test_two_new_prompts_are_asked_about_the_first_test_rows_and_nothing_is_asked_twice():
    landscape = Landscape()
    result, _ = run(landscape, ablation_size=30)
    cells = {cell.name: cell for cell in result.ablation.cells}
    assert [name for name, cell in cells.items() if cell.reused] == ["baseline", "both"]
    seeds = asked(landscape)
    for name in ("instruction only", "demonstrations only"):
        assert seeds.pop(cells[name].candidate) == list(range(30))
    assert seeds == {result.baseline: list(range(100)), result.winner: list(range(100))}
    assert max(Counter((r.candidate, r.split, r.seed) for r in landscape.history).values()) == 1


def test_the_cells_combine_the_two_instructions_with_the_two_demonstration_sets():
    assert cell_candidates(BASELINE, WINNER) == {
        "baseline": BASELINE,
        "instruction only": Candidate("Sort well."),
        "demonstrations only": Candidate("Sort.", DEMO),
        "both": WINNER,
    }


def test_scores_are_the_truth_of_the_landscape_on_these_rows():
    landscape = Landscape()
    result, _ = run(landscape)
    for cell in result.ablation.cells:
        right = [landscape.outcome(r).score for r in landscape.history if r.split == "test" and r.seed < 40
                 and r.candidate == cell.candidate]  # fmt: skip
        assert len(right) == cell.comparison.n == 40
        assert cell.comparison.candidate == sum(right) / 40


@pytest.mark.parametrize(
    ("settings", "coinciding"),
    [({"optimize_demos": False}, "instruction only"), ({"optimize_instructions": False}, "demonstrations only")],
)
def test_cells_that_coincide_cost_nothing_and_need_no_leave(settings, coinciding):
    landscape = Landscape()
    result, _ = run(landscape, stops=StopOnceTested(landscape, COST), **settings)
    cells = {cell.name: cell for cell in result.ablation.cells}
    assert all(cell.reused for cell in cells.values())
    assert cells[coinciding].comparison == cells["both"].comparison
    assert set(asked(landscape)) == {result.baseline, result.winner}


def test_an_unknown_answer_leaves_its_row_out_of_all_four_scores():
    outcomes = {
        "baseline": [WRONG, WRONG, UNKNOWN, WRONG],
        "instruction only": [RIGHT, WRONG, RIGHT, WRONG],
        "demonstrations only": [UNKNOWN, WRONG, RIGHT, RIGHT],
        "both": [RIGHT, RIGHT, RIGHT, RIGHT],
    }
    answers = {candidate: outcomes[name] for name, candidate in cell_candidates(BASELINE, WINNER).items()}
    found = ablate(answers, BASELINE, WINNER, new=())
    assert [(cell.comparison.n, cell.comparison.candidate) for cell in found.cells] == [
        (2, 0.0),
        (2, 0.0),
        (2, 0.5),
        (2, 1.0),
    ]
    assert (found.n, found.excluded) == (2, 2)


def test_no_row_known_to_all_four_is_no_score():
    answers = {candidate: [RIGHT] for candidate in cell_candidates(BASELINE, WINNER).values()}
    found = ablate({**answers, BASELINE: [UNKNOWN]}, BASELINE, WINNER, new=())
    assert (found.n, found.excluded) == (0, 1)


@pytest.mark.parametrize("reason", [COST, CANCELLED])
def test_an_outside_reason_leaves_it_out_and_the_test_stands(reason):
    landscape = Landscape()
    result, events = run(landscape, stops=StopOnceTested(landscape, reason))
    assert result.test.comparison.n == 100
    assert (result.ablation.skipped, result.ablation.cells) == (reason, ())
    assert set(asked(landscape)) == {result.baseline, result.winner}
    assert f"Ablation left out: {reason}" in [event.message for event in events]


def test_a_baseline_that_wins_and_a_missing_test_leave_it_out():
    assert run(Landscape(0.5, 0.0, 0.0), optimize_demos=False, optimize_instructions=False)[0].ablation.skipped == (
        NO_WINNER
    )

    class Cancelled:
        def check(self):
            return CANCELLED

    assert run(Landscape(), stops=Cancelled())[0].ablation.skipped == NO_TEST


@pytest.mark.parametrize("settings", [{"ablation_size": 0}, {"test_size": 0}])
def test_it_is_left_out_without_a_word_where_nobody_asked_for_it(settings):
    result, events = run(Landscape(), **settings)
    assert result.ablation is None
    assert not [event for event in events if "blation" in event.message and event.type != "mipro.job.started"]


@pytest.mark.parametrize(("size", "test_size", "rows"), [(40, 100, 40), (40, 25, 25), (500, 400, 100), (0, 100, 0)])
def test_the_plan_counts_it_beside_the_budget(size, test_size, rows):
    plan = make_plan(OptimizerSettings(ablation_size=size, test_size=test_size), make_task())
    assert plan.ablation_rows == rows
    assert plan.total == plan.budget + 2 * plan.test_rows + 2 * rows
    assert plan.bootstrap + plan.baseline + plan.search + plan.finalists <= plan.budget


def test_events_tell_the_phase_the_progress_and_the_scores():
    result, events = run(Landscape())
    messages = [event.message for event in events]
    assert messages.index("Phase 3: Final test on unseen rows") < messages.index(
        "Phase 4: Ablation: instruction and demonstrations apart"
    )
    assert "  Ablation: 80/80 rollouts" in messages
    assert messages[-1].startswith("Ablation on 40 test rows: baseline 0.")
    assert events[-1].data["scores"]["both"] == result.ablation.cells[-1].comparison.candidate
