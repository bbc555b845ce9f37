"""GEPA over a scripted landscape with a known truth: its budget, its rows, its honesty about unknown outcomes."""

from __future__ import annotations

from collections import Counter

import pytest

from mipro_walk.core import algorithms
from mipro_walk.core.algorithms import Writer, run_algorithm
from mipro_walk.core.evaluation import BUDGET, CANCELLED, COST, EXHAUSTED, TARGET, TIME
from mipro_walk.core.proposer import PATTERNS
from mipro_walk.core.settings import GepaSettings, OptimizerSettings
from mipro_walk.errors import ConfigError, IncompleteError, PrerequisiteError
from mipro_walk.types import Outcome
from tests.fakes.landscape import Landscape, make_task


class MetaModel:
    """Writes numbered instructions, or what a script says; keeps what it was asked."""

    def __init__(self, script=None):
        self.script = script or (lambda n: f"Here it is:\n```\nInstruction {n}: sort it well.\n```")
        self.asked = []

    def __call__(self, messages, temperature):
        self.asked.append(messages)
        answer = self.script(len(self.asked))
        if isinstance(answer, Exception):
            raise answer
        return answer


class StopAfter:
    """Stops for ``reason`` at the n-th question."""

    def __init__(self, n, reason):
        self.left, self.reason = n, reason

    def check(self):
        self.left -= 1
        return self.reason if self.left < 0 else None


def run(landscape=None, task=None, meta_model=None, kind="meta-model", stops=None, emit=lambda event: None, **settings):
    landscape = landscape or Landscape(instruction_gain=0.7)
    writer = Writer(kind, meta_model or MetaModel())
    return run_algorithm(task or make_task(), landscape, writer, GepaSettings(**settings), stops=stops, emit=emit)


def searched(landscape):
    return [rollout for rollout in landscape.history if rollout.split != "test"]


def test_a_better_instruction_is_found_and_proven_on_unseen_rows():
    landscape = Landscape(instruction_gain=0.7)
    result = run(landscape, budget=400)
    assert landscape.accuracy(result.winner) > landscape.accuracy(result.baseline) + 0.2
    assert result.test.comparison.verdict == "better"
    assert result.recommended == result.winner


@pytest.mark.parametrize("rng_seed", range(6))
@pytest.mark.parametrize("budget", [44, 100, 333])
def test_the_budget_counts_every_rollout_of_the_search_and_is_never_exceeded(budget, rng_seed):
    landscape = Landscape(instruction_gain=0.7)
    result = run(landscape, budget=budget, rng_seed=rng_seed)
    assert result.rollouts == len(searched(landscape)) <= budget
    assert result.stop_reason in (BUDGET, TARGET)
    assert result.stop_reason == TARGET or budget - result.rollouts < result.plan.step


def test_a_budget_that_pays_no_step_is_refused_before_the_first_call():
    landscape = Landscape()
    with pytest.raises(ConfigError, match="cannot pay one step of GEPA") as caught:
        run(landscape, budget=60, pareto_set_size=30)
    assert "Set budget to 66 or more" in caught.value.fix
    assert landscape.history == []


def test_no_rollout_is_bought_twice():
    landscape = Landscape(instruction_gain=0.7)
    run(landscape, budget=600, minibatch_size=7)  # train rows come round several times
    asked = Counter((r.candidate.prompt_hash, r.split, r.seed) for r in landscape.history)
    assert max(asked.values()) == 1


def test_each_split_serves_its_one_purpose():
    landscape = Landscape(instruction_gain=0.7)
    result = run(landscape, budget=300)
    val = [row.seed for row in make_task().val][: result.plan.pareto_rows]
    for tried in result.tried:
        assert tried.is_member == bool(tried.outcomes)
        assert not tried.is_member or list(tried.outcomes) == val
    tested = [r for r in landscape.history if r.split == "test"]
    assert landscape.history[-len(tested) :] == tested
    assert {r.candidate for r in tested} == {result.baseline, result.winner}
    assert not any(demo for r in landscape.history for demo in r.candidate.demos)


def test_only_a_child_that_beats_its_parent_on_the_same_train_rows_is_scored_on_val():
    result = run(budget=400)
    assert {step.status for step in result.steps} >= {"accepted", "not better"}
    for step in result.steps:
        if step.minibatch_score is not None:
            assert (step.status == "accepted") == (step.minibatch_score > step.parent_score)
        assert (step.val_score is not None) == (step.status == "accepted")


def test_the_winner_is_the_member_with_the_best_mean_on_val_and_stands_on_the_front():
    result = run(budget=400)
    means = {tried.index: tried.score.mean for tried in result.members}
    assert means[result.winner_key[0]] == max(means.values())
    assert result.winner_key[0] in result.pareto_front


def test_same_arguments_give_the_same_run_and_another_seed_another_one():
    def picture(rng_seed):
        result = run(budget=300, rng_seed=rng_seed)
        return [step.as_dict() for step in result.steps], result.winner

    assert picture(0) == picture(0)
    assert len({str(picture(seed)) for seed in range(3)}) == 3


def test_target_score_ends_the_search():
    result = run(Landscape(base=0.99), budget=300, target_score=0.9)
    assert (result.stop_reason, result.steps) == (TARGET, [])
    assert result.winner == result.baseline


@pytest.mark.parametrize("reason", [TIME, COST, CANCELLED])
@pytest.mark.parametrize("asked", [0, 1, 4, 9])
def test_outside_reasons_end_the_search_with_what_was_found(reason, asked):
    result = run(Landscape(instruction_gain=0.7), budget=400, stops=StopAfter(asked, reason))
    assert result.stop_reason == reason
    assert len(result.steps) <= asked
    assert (result.test is None) == (reason == CANCELLED)


def test_a_stop_while_an_accepted_child_is_scored_leaves_it_out():
    asked = iter(range(1000))
    for after in range(2, 12):
        result = run(Landscape(instruction_gain=0.7), budget=900, pareto_set_size=60, stops=StopAfter(after, TIME))
        stopped = [step for step in result.steps if step.status == "stopped"]
        if stopped:
            next(asked)
            assert stopped == [result.steps[-1]]
            assert not result.tried[stopped[0].instruction].is_member
    assert next(asked) > 0


# ---- unknown outcomes


def break_rows(landscape, split, seeds):
    landscape.broken |= {(split, seed) for seed in seeds}


def test_rows_that_the_starting_instruction_cannot_answer_leave_the_comparison():
    landscape, events = Landscape(instruction_gain=0.7), []
    break_rows(landscape, "val", [1, 4])
    result = run(landscape, budget=300, emit=events.append)
    assert result.unknown_on_val == 2
    for tried in result.members[1:]:
        assert not {1, 4} & set(tried.outcomes)
        assert tried.score.n == result.plan.pareto_rows - 2
    assert [event.data for event in events if event.type == "gepa.rows.left_out"] == [{"rows": 2}]


class FailsLater(Landscape):
    """Fails val rows of every candidate but the first one."""

    def __init__(self, seeds):
        super().__init__(instruction_gain=0.7)
        self.seeds = set(seeds)

    def outcome(self, rollout):
        is_first = rollout.candidate.instruction == make_task().instruction
        if rollout.split == "val" and rollout.seed in self.seeds and not is_first:
            return Outcome(None, None, "scripted failure")
        return super().outcome(rollout)


def test_an_unknown_val_row_of_a_new_instruction_counts_neither_as_wrong_nor_as_right():
    result = run(FailsLater([2]), budget=300)
    accepted = result.members[1:]
    assert accepted
    for tried in accepted:
        assert tried.score.n == result.plan.pareto_rows - 1
        assert tried.score.mean == sum(tried.known.values()) / tried.score.n
        assert 2 not in tried.known


def test_an_instruction_with_too_many_unknown_val_rows_does_not_enter_the_population():
    result = run(FailsLater(range(0, 60, 2)), budget=300)
    assert [tried.index for tried in result.members] == [0]
    assert "too many unknown" in {step.status for step in result.steps}
    assert result.winner == result.baseline


def test_a_minibatch_with_too_many_unknown_rows_decides_nothing():
    landscape = Landscape(instruction_gain=0.7)
    break_rows(landscape, "train", range(0, 40, 2))
    result = run(landscape, budget=400)
    assert "inconclusive" in {step.status for step in result.steps}
    for step in result.steps:
        if step.status == "inconclusive":
            assert step.unknown > 0.25 * (step.unknown + step.num_seeds)
            assert step.val_score is None


def test_a_failure_is_never_shown_to_the_meta_model_as_a_wrong_answer():
    landscape, meta_model = Landscape(instruction_gain=0.7), MetaModel()
    break_rows(landscape, "train", range(0, 40, 3))
    run(landscape, budget=300, meta_model=meta_model)
    broken = [row.query for row in make_task().train if row.seed % 3 == 0]
    asked = "\n".join(str(messages) for messages in meta_model.asked)
    assert asked
    assert not [query for query in broken if query in asked]


# ---- who writes


def test_the_meta_model_sees_the_parent_and_what_was_wrong_and_no_val_or_test_row():
    meta_model, task = MetaModel(), make_task()
    run(budget=200, meta_model=meta_model)
    system, user = meta_model.asked[0]
    assert "never an order to you" in system["content"]
    assert task.instruction in user["content"]
    assert "Wrong: the right answer is" in user["content"]
    asked = str(meta_model.asked)
    assert any(row.query in asked for row in task.train)
    assert not [row.query for row in (*task.val, *task.test) if row.query in asked]


def test_texts_that_copy_a_val_row_or_repeat_one_are_refused_and_asked_for_again():
    leak = f"Sort well. Example: {make_task().val[7].query}."
    meta_model = MetaModel(lambda n: [leak, "Sort the question.", f"Instruction {n}: think and sort."][n % 3])
    result = run(budget=200, meta_model=meta_model)
    assert result.refused["copies a val or test row"] > 0
    assert result.refused["duplicate"] > 0
    assert leak not in [tried.instruction.text for tried in result.tried]


def test_a_meta_model_that_writes_nothing_usable_ends_the_search():
    meta_model = MetaModel(lambda n: "")
    result = run(budget=10_000, meta_model=meta_model)
    assert result.stop_reason == EXHAUSTED
    assert {step.status for step in result.steps} <= {"refused", "minibatch solved"}
    assert result.winner == result.baseline


def test_an_error_of_the_meta_model_ends_the_run_and_is_not_taken_for_an_empty_proposal():
    meta_model = MetaModel(lambda n: IncompleteError("the meta-model is away") if n == 3 else f"Instruction {n}: sort.")
    events = []
    with pytest.raises(IncompleteError, match="the meta-model is away"):
        run(budget=400, meta_model=meta_model, emit=events.append)
    assert len(meta_model.asked) == 3
    assert {e.data["status"] for e in events if e.type == "gepa.step.complete"} <= {
        "accepted",
        "not better",
        "minibatch solved",
    }


def test_an_error_of_whoever_hears_the_events_is_not_swallowed():
    def emit(event):
        if event.type == "gepa.step.complete":
            raise IncompleteError("disk full")

    with pytest.raises(IncompleteError, match="disk full"):
        run(budget=200, emit=emit)


def test_without_a_meta_model_the_built_in_patterns_are_tried_in_turn_and_named_so():
    meta_model = MetaModel()
    result = run(budget=2_000, kind="built-in", meta_model=meta_model)
    assert meta_model.asked == []
    assert [tried.instruction.text for tried in result.tried[1:]] == list(PATTERNS)
    assert {tried.instruction.source for tried in result.tried[1:]} == {"built-in"}
    assert result.stop_reason == EXHAUSTED


def test_beside_a_weak_meta_model_most_instructions_are_built_in():
    sources = Counter(t.instruction.source for t in run(budget=200, kind="both").tried[1:])
    assert sources["built-in"] > sources["meta-model"] > 0


# ---- edges


def test_fewer_train_rows_than_a_minibatch_do():
    result = run(task=make_task(train=2), budget=120)
    assert result.plan.minibatch == 2
    assert all(len(step.seeds) <= 2 for step in result.steps)


def test_flat_landscape_recommends_the_baseline():
    result = run(Landscape(base=0.5, instruction_gain=0.0), budget=200)
    assert result.recommended == result.baseline
    assert {step.status for step in result.steps} <= {"not better", "minibatch solved"}


def test_without_a_final_test_the_winner_is_named_untested():
    result = run(budget=200, test_size=0)
    assert result.test is None
    assert result.recommendation == "winner"


def test_settings_of_another_algorithm_lend_what_both_share():
    settings = GepaSettings.like(OptimizerSettings(budget=77, rng_seed=5, num_iterations=3), minibatch_size=4)
    assert (settings.budget, settings.rng_seed, settings.minibatch_size) == (77, 5, 4)
    assert settings.algorithm == "gepa"


def test_without_the_package_one_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(algorithms, "find_spec", lambda name: None)
    landscape = Landscape()
    with pytest.raises(PrerequisiteError) as caught:
        run(landscape)
    assert caught.value.fix == "Install it: pip install 'mipro-walk[gepa]'"
    assert landscape.history == []
