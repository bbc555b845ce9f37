"""Programs of several stages, optimized jointly, against a scripted program with a known truth."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from mipro_walk.core.ablation import cell_candidates
from mipro_walk.core.bootstrap import Evidence, demo_pool
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.pooling import Estimate
from mipro_walk.core.proposer import PatternProposer, ProposalRequest, proposal_messages
from mipro_walk.core.sampler import crossed, spread, suggest
from mipro_walk.core.search_space import DemoSet, Instruction, SearchSpace, StageSpace
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.prompting import candidate_messages
from mipro_walk.types import Candidate, Demonstration, Example, Outcome, Rollout, StageCall
from tests.fakes.landscape import Landscape, ScriptedProposer, make_task, unit
from tests.fakes.program import ADD, FIND, ProgramLandscape, make_program_task, model

FEW = OptimizerSettings(num_demos=1)
SETTINGS = {"num_iterations": 30, "budget": 500, "num_demos": 3, "target_score": 1.1}


def run(proposer=None, emit=lambda event: None, **settings):
    task = make_program_task()
    landscape = ProgramLandscape(task)
    asked = OptimizerSettings(**{**SETTINGS, **settings})
    return optimize(task, landscape, proposer or PatternProposer(), asked, emit=emit), landscape


def accuracy(candidate, task):
    """Return how often a candidate is right on the test rows."""
    outcomes = ProgramLandscape(task).evaluate([Rollout(candidate, "test", row.seed) for row in task.test])
    return sum(o.score for o in outcomes) / len(outcomes)


def make_space(*sizes):
    stages = zip(sizes[::2], sizes[1::2], strict=True)
    return SearchSpace(
        [
            StageSpace(
                [Instruction(f"{name} instruction {i}", "built-in") for i in range(instructions)],
                [DemoSet((), (d,), "random") for d in range(demo_sets)],
                f"stage{name}",
            )
            for name, (instructions, demo_sets) in enumerate(stages)
        ]
    )


# ---- the whole run


def test_both_stages_are_improved_and_the_gain_is_proven_on_unseen_rows():
    result, _ = run()
    assert result.test.comparison.verdict == "better"
    first, second = result.winner.prompts
    assert first != Candidate(FIND.instruction)
    assert second != Candidate(ADD.instruction)
    task = make_program_task()
    assert accuracy(result.winner, task) == result.test.comparison.candidate
    assert accuracy(result.winner, task) > accuracy(task.baseline, task) + 0.2


@pytest.mark.parametrize("rng_seed", range(5))
def test_the_budget_is_kept_and_nothing_is_bought_twice(rng_seed):
    result, landscape = run(rng_seed=rng_seed)
    searched = [r for r in landscape.history if r.split in ("train", "val")]
    assert result.rollouts == len(searched) <= 500
    asked = Counter((r.candidate.prompt_hash, r.split, r.seed) for r in landscape.history)
    assert max(asked.values()) == 1


def test_the_same_arguments_give_the_same_run():
    first, second = (run(rng_seed=3)[0] for _ in range(2))
    assert [t.as_dict() for t in first.trials] == [t.as_dict() for t in second.trials]
    assert first.winner == second.winner


def test_events_are_plain_data_and_name_the_stage():
    seen = []
    run(emit=seen.append, generations=2, proposer=ScriptedProposer())
    assert json.loads(json.dumps([dict(event.data) for event in seen]))
    proposed = Counter(event.data["stage"] for event in seen if event.type == "mipro.instruction.proposed")
    assert proposed == {"find": 17, "add": 17}  # the baseline, three rounds of four, four of the second generation
    trials = [event.data for event in seen if event.type == "mipro.trial.complete"]
    assert {len(trial["key"]) for trial in trials} == {4}
    assert any("find: instruction" in event.message and "add: instruction" in event.message for event in seen)


def test_a_later_generation_starts_from_the_leaders_own_stages():
    proposer = ScriptedProposer()
    run(proposer=proposer, generations=2)
    later = [request for request in proposer.requests if request.leading]
    assert [request.stage for request in later] == [0, 1]
    assert later[0].leading != later[1].leading


def test_the_ablation_changes_all_instructions_or_all_demonstrations():
    result, _ = run()
    cells = cell_candidates(result.baseline, result.winner)
    only = cells["instruction only"].prompts
    assert [p.instruction for p in only] == [p.instruction for p in result.winner.prompts]
    assert all(not p.demos for p in only)
    shown = cells["demonstrations only"].prompts
    assert [p.demos for p in shown] == [p.demos for p in result.winner.prompts]
    assert [p.instruction for p in shown] == [FIND.instruction, ADD.instruction]
    assert {cell.candidate for cell in result.ablation.cells} == set(cells.values())


def test_a_program_that_is_never_right_gets_no_made_up_demonstrations():
    task = make_program_task()

    class AlwaysWrong(ProgramLandscape):
        def _run(self, rollout):
            return Outcome(0.0, "wrong", "wrong", trace=(StageCall("find", "q", "a"), StageCall("add", "a", "b")))

    result = optimize(task, AlwaysWrong(task), PatternProposer(), OptimizerSettings(**SETTINGS))
    assert [len(stage.demo_sets) for stage in result.space.stages] == [1, 1]
    assert result.recommendation == "baseline"


def test_a_single_prompt_has_no_trace_of_stages_in_its_events():
    seen = []
    optimize(make_task(), Landscape(), ScriptedProposer(), OptimizerSettings(num_demos=3), emit=seen.append)
    assert not [event for event in seen if "stage" in event.data or "stages" in event.data or "key" in event.data]


# ---- candidates


def test_the_hash_of_a_program_covers_every_stage_in_order():
    demo = (Demonstration("q", "a"),)
    candidates = [
        Candidate("A", (), (Candidate("B"),)),
        Candidate("B", (), (Candidate("A"),)),
        Candidate("A", demo, (Candidate("B"),)),
        Candidate("A", (), (Candidate("B", demo),)),
        Candidate("A"),
    ]
    assert len({candidate.prompt_hash for candidate in candidates}) == len(candidates)
    assert candidates[3].prompts == (Candidate("A"), Candidate("B", demo))


def test_outcomes_survive_being_recorded():
    traced = Outcome(1.0, "7", trace=(StageCall("find", "3 and 4", "3 4"), StageCall("add", "3 4", "7")))
    for outcome in (traced, Outcome(0.5, "a", "wrong", {"f1": 0.5}), Outcome(None, None, "failed")):
        assert Outcome.from_dict(json.loads(json.dumps(outcome.as_dict()))) == outcome


# ---- demonstrations


def call(stage, query, answer):
    return StageCall(stage, query, answer)


def test_demonstrations_of_a_stage_come_from_rows_that_the_program_answered_right():
    task, evidence = make_program_task(), Evidence()
    right, wrong = task.train[:2]
    evidence.add(right, Outcome(1.0, "7", trace=(call("find", "a", "3 4"), call("add", "3 4", "7"))))
    evidence.add(wrong, Outcome(0.0, "9", trace=(call("find", "b", "1 1"), call("add", "1 1", "9"))))
    pool, _ = demo_pool(task, evidence, FEW, 0)
    assert pool == [Example(right.seed, "a", "3 4")]


def test_where_the_last_stage_says_the_answer_a_wrong_row_shows_the_right_one():
    task, evidence = make_program_task(), Evidence()
    wrong = task.train[1]
    evidence.add(wrong, Outcome(0.0, "9", trace=(call("find", "b", "1 1"), call("add", "1 1", "9"))))
    pool, found = demo_pool(task, evidence, FEW, 1)
    assert pool == [Example(wrong.seed, "1 1", wrong.label)]
    assert found.mistakes == [(pool[0], "9")]
    evidence.add(task.train[2], Outcome(0.0, "nine", trace=(call("find", "b", "1 1"), call("add", "1 1", "9"))))
    assert demo_pool(task, evidence, FEW, 1)[0] == []  # the program makes something else of what the stage says


def test_wrong_rows_are_shown_only_where_right_ones_do_not_fill_two_sets():
    task, evidence = make_program_task(), Evidence()
    for row in task.train[:4]:
        is_right = row.seed < 2
        answer = row.label if is_right else "99"
        evidence.add(
            row, Outcome(float(is_right), answer, trace=(call("find", "b", "1 1"), call("add", "1 1", answer)))
        )
    assert len(demo_pool(task, evidence, OptimizerSettings(num_demos=1), 1)[0]) == 2
    assert len(demo_pool(task, evidence, OptimizerSettings(num_demos=2), 1)[0]) == 4


def test_what_two_rows_come_to_in_a_stage_is_shown_once():
    task, evidence = make_program_task(), Evidence()
    for row in task.train[:3]:
        evidence.add(row, Outcome(1.0, "2", trace=(call("find", row.query, "1 1"), call("add", "1 1", "2"))))
    assert len(demo_pool(task, evidence, FEW, 0)[0]) == 3
    assert [row.seed for row in demo_pool(task, evidence, FEW, 1)[0]] == [0]


def test_demonstrations_of_each_stage_are_what_the_stage_was_asked_and_said():
    result, _ = run()
    for stage, prompt in zip((FIND, ADD), result.space.stages, strict=True):
        shown = [demo for demo_set in prompt.demo_sets for demo in demo_set.demos]
        assert shown
        for demo in shown:
            assert demo.label == model(candidate_messages(Candidate(stage.instruction), demo.query))


# ---- proposals


def test_built_in_patterns_keep_what_a_stage_is_for():
    task = make_program_task()
    for number, stage in enumerate((FIND, ADD)):
        found = PatternProposer().propose(ProposalRequest(task, Evidence(), 0, 4, 0, stage=number))
        assert len(found) == 4
        assert all(i.text.startswith(f"{stage.instruction} ") for i in found)


def test_the_meta_model_is_told_which_stage_and_what_each_one_did():
    task, evidence = make_program_task(), Evidence()
    row = task.train[0]
    evidence.add(row, Outcome(0.0, "9", trace=(call("find", row.query, "1 1"), call("add", "1 1", "9"))))
    system, user = proposal_messages(ProposalRequest(task, evidence, 0, 1, 0, stage=1), "sums", 0)
    data = json.loads(user["content"])
    assert data["stage"] == "add"
    assert data["current_instruction"] == ADD.instruction
    assert [stage["stage"] for stage in data["program"]] == ["find", "add"]
    (wrong,) = data["answered_wrong"]
    assert wrong["right"] == row.label
    assert [c["answered"] for c in wrong["calls"]] == ["1 1", "9"]
    assert "stages" in system["content"]


# ---- the sampler


@pytest.mark.parametrize("sizes", [(6, 6, 6, 6), (13, 8, 13, 8), (1, 4, 5, 3), (2, 2, 2, 2)])
def test_the_start_takes_every_part_of_every_stage_as_evenly_as_possible(sizes):
    space = make_space(*sizes)
    keys = spread(space, min(24, space.size - 1), rng_seed=0)
    assert len(keys) == len(set(keys)) == min(24, space.size - 1)
    assert space.baseline_key not in keys
    for axis, size in enumerate(sizes):
        times = Counter(key[axis] for key in keys)
        assert max(times.values()) - min(times.get(level, 0) for level in range(size)) <= 3


def test_parts_of_two_stages_are_not_tied_to_each_other_at_the_start():
    keys = spread(make_space(8, 8, 8, 8), 32, rng_seed=0)
    for left, right in ((0, 2), (1, 3)):
        partners = {level: {key[right] for key in keys if key[left] == level} for level in range(8)}
        assert min(len(found) for found in partners.values()) >= 2


def test_new_parts_of_every_axis_stand_beside_the_leaders_others():
    assert crossed((1, 2, 3, 4), [[9], [], [8, 7], [6]], []) == [(9, 2, 3, 4), (1, 2, 8, 4), (1, 2, 3, 6), (1, 2, 7, 4)]


def test_tpe_recombines_good_parts_of_different_stages():
    """Instruction 3 of the first stage and of the second are good, but were never seen together."""
    space = make_space(6, 2, 6, 2)
    quality = {key: 0.4 + 0.3 * (key[0] == 3) + 0.3 * (key[2] == 3) + 0.05 * unit(key) for key in spread(space, 60, 1)}
    known = {key: Estimate(q, 0.05, q) for key, q in quality.items() if q < 0.9}
    hits = Counter(
        sampler
        for sampler in ("tpe", "random")
        for seed in range(20)
        if any(key[0] == key[2] == 3 for key in suggest(space, known, 4, sampler=sampler, rng_seed=seed, rung=1))
    )
    assert hits["tpe"] >= 15 > hits["random"]
