"""The loop against a scripted landscape with a known truth."""

from __future__ import annotations

from collections import Counter

import pytest

from mipro_walk.core.evaluation import CANCELLED, EXHAUSTED, ITERATIONS, TARGET, TIME
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.errors import ConfigError
from mipro_walk.types import Event
from tests.fakes.landscape import Landscape, ScriptedProposer, make_task


def run(landscape=None, task=None, stops=None, emit=lambda event: None, **settings):
    landscape = landscape or Landscape()
    return optimize(
        task or make_task(), landscape, ScriptedProposer(), OptimizerSettings(**settings), stops=stops, emit=emit
    )


class StopAfter:
    """Stops for ``reason`` at the n-th question."""

    def __init__(self, n: int, reason: str) -> None:
        self.left, self.reason = n, reason

    def check(self):
        self.left -= 1
        return self.reason if self.left < 0 else None


def test_default_run_finds_a_better_prompt_and_proves_it_on_unseen_rows():
    landscape = Landscape()
    result = run(landscape, num_demos=5)
    assert result.test.comparison.verdict == "better"
    assert result.recommendation == "winner"
    assert landscape.accuracy(result.winner) > landscape.accuracy(result.baseline) + 0.2


@pytest.mark.parametrize("rng_seed", range(8))
def test_budget_counts_every_rollout_of_bootstrap_and_search_and_is_never_exceeded(rng_seed):
    landscape = Landscape()
    result = run(landscape, num_demos=5, rng_seed=rng_seed, target_score=0.6)
    searched = [r for r in landscape.history if r.split != "test"]
    assert result.rollouts == len(searched) <= 100


@pytest.mark.parametrize("budget", [40, 57, 100, 333])
@pytest.mark.parametrize("iterations", [1, 3, 7])
def test_any_budget_is_kept(budget, iterations):
    result = run(budget=budget, num_iterations=iterations)
    assert result.rollouts <= budget


def test_budget_below_the_minimum_is_refused_before_the_first_call():
    landscape = Landscape()
    with pytest.raises(ConfigError, match="cannot pay 10 iterations"):
        run(landscape, budget=12)
    assert landscape.history == []


def test_no_rollout_is_ever_bought_twice():
    landscape = Landscape()
    run(landscape, num_demos=3, num_iterations=30, budget=400)
    asked = Counter((r.candidate.prompt_hash, r.split, r.seed) for r in landscape.history)
    assert max(asked.values()) == 1


def test_test_rows_are_touched_once_for_baseline_and_winner_only_and_last():
    landscape = Landscape()
    result = run(landscape, num_demos=3, ablation_size=0)
    splits = [r.split for r in landscape.history]
    first = splits.index("test")
    assert set(splits[first:]) == {"test"}
    assert {r.candidate for r in landscape.history[first:]} == {result.baseline, result.winner}


def test_candidates_are_compared_on_common_prefixes_of_one_row_order():
    result = run(num_demos=3, num_iterations=20, budget=200)
    for entry in result.board.entries.values():
        assert set(entry.outcomes) == set(result.board.order[: len(entry.outcomes)])


def test_same_arguments_give_the_same_run():
    first, second = (run(Landscape(), num_demos=4, rng_seed=7) for _ in range(2))
    assert [t.as_dict() for t in first.trials] == [t.as_dict() for t in second.trials]
    assert first.winner == second.winner


def test_seed_zero_is_a_seed_of_its_own():
    seeds = {run(num_demos=4, rng_seed=seed).space.stages[0].demo_sets[1].seeds for seed in (0, 1, 2)}
    assert len(seeds) == 3


def test_num_demos_zero_means_no_demonstrations():
    result = run(num_demos=0)
    assert [s.builder for s in result.space.stages[0].demo_sets] == ["empty"]
    assert result.winner.demos == ()


def test_optimize_demos_false_and_optimize_instructions_false_mean_literally_that():
    assert len(run(optimize_demos=False, num_demos=5).space.stages[0].demo_sets) == 1
    assert len(run(optimize_instructions=False, num_demos=5).space.stages[0].instructions) == 1


def test_only_the_baseline_left_to_search_ends_with_no_significant_gain():
    result = run(optimize_demos=False, optimize_instructions=False, num_iterations=3)
    assert result.winner == result.baseline
    assert result.test.comparison.verdict == "no significant gain"
    assert result.recommendation == "baseline"


def test_flat_landscape_recommends_the_baseline():
    result = run(Landscape(base=0.5, demo_gain=0.0, instruction_gain=0.0), num_demos=3)
    assert result.test.comparison.difference == 0
    assert result.recommended == result.baseline


def test_target_score_is_confirmed_on_more_rows_before_it_stops_the_search():
    result = run(Landscape(base=1.0), num_demos=3)
    assert result.stop_reason == TARGET
    assert result.board.ranking()[0].n >= result.plan.confirmation_rows > result.plan.minibatch


@pytest.mark.parametrize(("reason", "has_test"), [(TIME, True), (CANCELLED, False)])
def test_outside_reasons_stop_the_search(reason, has_test):
    result = run(stops=StopAfter(5, reason), num_demos=3)
    assert result.stop_reason == reason
    assert {t.rung for t in result.trials} == {
        0
    }  # four questions were asked in the bootstrap, one before the first rung
    assert (result.test is not None) == has_test


def test_search_stops_when_every_candidate_has_answered_every_row():
    task = make_task(val=5)
    result = run(task=task, optimize_demos=False, num_bootstrap_seeds=1, num_instructions_per_module=2, budget=100)
    assert result.stop_reason == EXHAUSTED
    assert result.rollouts == 3 * 5 + result.plan.bootstrap


def test_a_run_that_reaches_its_end_names_the_iterations_as_reason():
    assert run(num_demos=3).stop_reason == ITERATIONS


def test_stop_in_the_middle_of_a_rung_keeps_what_was_answered_and_nothing_half_scored():
    result = run(stops=StopAfter(5, TIME), num_demos=3, budget=2000, num_iterations=100)
    assert result.stop_reason == TIME
    assert 0 < len(result.trials) < result.plan.rungs[0].members
    assert all(entry.outcomes for entry in result.board.entries.values())


def test_weak_candidates_stop_early_and_close_ones_get_more_rows():
    result = run(num_demos=3, num_iterations=30, budget=300)
    rows = {key: len(entry.outcomes) for key, entry in result.board.entries.items()}
    assert max(rows.values()) >= 5 * min(rows.values())
    assert {entry.key for entry in result.finalists} <= {
        k for k, n in rows.items() if n > sum(rows.values()) / len(rows)
    }


def test_every_trial_scores_rows_its_candidate_had_not_answered():
    seen: dict = {}
    for trial in run(num_demos=3, num_iterations=30, budget=300).trials:
        assert not seen.setdefault(trial.key, set()) & set(trial.seeds)
        seen[trial.key] |= set(trial.seeds)


def test_second_generation_answers_what_the_leaders_confuse_without_showing_their_rows():
    proposer, task = ScriptedProposer(), make_task()
    result = optimize(task, Landscape(), proposer, OptimizerSettings(num_demos=3, num_iterations=20, budget=200))
    last = proposer.requests[-1]
    assert last.leading in [i.text for i in result.space.stages[0].instructions]
    assert last.confusions
    assert all(label in task.labels for expected, answered, _ in last.confusions for label in (expected, answered))
    later = result.space.stages[0].demo_sets[8:]
    assert {s.builder for s in later} == {"contrastive", "varied"}
    assert any(key[0] > 12 or key[1] > 7 for key in result.board.entries)


def test_one_generation_leaves_the_space_as_it_was():
    result = run(num_demos=3, generations=1)
    assert (len(result.space.stages[0].instructions), len(result.space.stages[0].demo_sets)) == (13, 8)


def test_unknown_outcomes_are_left_out_of_scores_and_shown():
    landscape = Landscape()
    landscape.broken = {("val", 1), ("test", 3), ("test", 4)}
    result = run(landscape, num_demos=3)
    assert all(1 not in entry.known for entry in result.board.entries.values())
    assert result.test.comparison.excluded == 2
    assert result.test.comparison.n == 98


def test_trial_with_too_many_unknown_rows_is_not_told_to_the_sampler():
    landscape = Landscape()
    landscape.broken = {("val", seed) for seed in range(3)}
    result = run(landscape, num_demos=3)
    assert {t.status for t in result.trials if t.unknown > 0.25 * len(t.seeds)} == {"too many unknown"}
    assert all(t.estimate is None for t in result.trials if t.status == "too many unknown")


@pytest.mark.parametrize("row", [2, 7, 11])
def test_a_row_that_never_answers_is_missing_for_all_alike_and_the_winner_is_as_good(row):
    clean, faulty = Landscape(), Landscape()
    faulty.broken = {("val", row)}
    settings = {"num_demos": 5, "num_iterations": 30, "budget": 400}
    found, expected = run(faulty, **settings), run(clean, **settings)
    assert all(row in e.outcomes for e in found.board.entries.values() if len(e.outcomes) > row)
    assert clean.accuracy(found.winner) > clean.accuracy(expected.winner) - 0.05


def test_single_label_pool_and_too_many_demos_are_refused():
    task = make_task()
    one_label = [row for row in task.val if row.label == "card"]
    with pytest.raises(ConfigError, match="Every row of the val pool has the label 'card'"):
        run(task=make_task().__class__(**{**{f: getattr(task, f) for f in task.__slots__}, "val": one_label}))
    with pytest.raises(ConfigError, match="num_demos = 41 is larger than the train pool \\(40 rows\\)"):
        run(num_demos=41)


def test_random_sampler_runs_the_same_loop():
    assert run(sampler="random", num_demos=3).test is not None


@pytest.mark.parametrize("evaluate_order", [1, -1])
def test_order_in_which_parallel_rollouts_end_changes_nothing(evaluate_order):
    class Shuffled(Landscape):
        def evaluate(self, rollouts):
            ended = {rollout: self.outcome(rollout) for rollout in rollouts[::evaluate_order]}
            return [ended[rollout] for rollout in rollouts]

    assert run(Shuffled(), num_demos=4).trials == run(Landscape(), num_demos=4).trials


def test_events_say_what_the_walkthrough_shows():
    events: list[Event] = []
    run(num_demos=3, emit=events.append)
    messages = [event.message for event in events]
    assert "Phase 1: Bootstrap" in messages
    assert any(m.startswith("  - Seed 1/3: 4 instructions generated") for m in messages)
    assert any(m.startswith("  Iteration 1/10... score: ") and "(n=" in m for m in messages)
    assert [e.data["iteration"] for e in events if e.type == "mipro.trial.complete"] == list(range(10))


def test_a_trial_is_told_to_start_before_its_first_row_and_to_end_after_its_last():
    told: list[str] = []

    class Watched(Landscape):
        def evaluate(self, rollouts):
            told.append("rows")
            return super().evaluate(rollouts)

    run(
        Watched(),
        num_demos=3,
        budget=400,  # rungs of more rows than are asked at once
        emit=lambda e: told.append(f"{e.type[16:]} {e.data['iteration']}") if "mipro.iteration" in e.type else None,
    )
    ended = [entry for entry in told if entry != "rows"]
    assert ended == [f"{what} {number}" for number in range(10) for what in ("start", "complete")]
    assert told[told.index("start 0") + 1] == "rows"
    assert "rows" in told[told.index("start 0") + 2 : told.index("complete 9")]


def test_refused_proposals_are_counted_and_asked_again():
    class Stubborn(ScriptedProposer):
        def propose(self, request):
            return super().propose(request)[:1] * request.count

    proposer = Stubborn()
    result = optimize(make_task(), Landscape(), proposer, OptimizerSettings(num_demos=3))
    assert result.refused["duplicate"] > 0
    assert {r.attempt for r in proposer.requests} == {0, 1, 2}
