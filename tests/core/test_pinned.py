"""Rows that must not get worse, and parts of an instruction that must stay."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from mipro_walk.core.bootstrap import Evidence
from mipro_walk.core.leaks import LACKS_FIXED, LeakGuard
from mipro_walk.core.optimizer import optimize
from mipro_walk.core.pinned import check_pinned
from mipro_walk.core.proposer import (
    FREE_PATTERNS,
    MetaModelProposer,
    MixedProposer,
    PatternProposer,
    ProposalRequest,
    proposal_messages,
    screen,
)
from mipro_walk.core.search_space import Instruction
from mipro_walk.core.settings import OptimizerSettings
from mipro_walk.errors import ConfigError
from mipro_walk.library.tasks import make_task
from mipro_walk.types import Example, Outcome

FIXED = ("Never mention prices.", "Answer in English\u00a0only.")
WORDS = (
    "river",
    "stone",
    "lantern",
    "harbour",
    "meadow",
    "copper",
    "violin",
    "saddle",
    "ember",
    "willow",
    "moss",
    "ink",
)


def rows(split, n):
    return [(f"{split} {WORDS[i % 12]} {WORDS[(i * 5 + 3) % 12]} {i} {split * 2}", f"label {i % 3}") for i in range(n)]


def task_with(pinned=(), fixed=()):
    text = "Sort the input into its label." + "".join(f" {part}" for part in fixed)
    task = make_task("t", text, rows("tr", 24), rows("va", 24), rows("te", 40))
    return replace(task, pinned=tuple(pinned), fixed=fixed, kind="classification")


class Evaluator:
    """Demonstrations help on every row; ``broken`` pinned rows are right without them only."""

    def __init__(self, broken=(), unknown=()):
        self.broken, self.unknown = set(broken), set(unknown)
        self.asked = []

    def evaluate(self, rollouts):
        self.asked += rollouts
        return [self.outcome(rollout) for rollout in rollouts]

    def outcome(self, rollout):
        has_demos = bool(rollout.candidate.demos)
        if rollout.split == "pinned" and rollout.seed in self.unknown and has_demos:
            return Outcome(None, None, "failed")
        right = not has_demos if rollout.split == "pinned" and rollout.seed in self.broken else has_demos
        return Outcome(float(right), "x", "" if right else "wrong")


SETTINGS = OptimizerSettings(num_demos=2, budget=60, test_size=40, ablation_size=0, target_score=1.0)
PINNED = [Example(0, "first pinned row of its own", "label 0"), Example(1, "second one, quite different", "label 1")]


def run(evaluator, **task):
    events = []
    result = optimize(task_with(**task), evaluator, PatternProposer(), SETTINGS, emit=events.append)
    return result, events


@pytest.mark.parametrize(
    ("broken", "unknown", "recommended"), [((), (), "winner"), ((1,), (), "baseline"), ((), (0,), "baseline")]
)
def test_winner_is_recommended_only_if_every_pinned_row_is_known_to_hold(broken, unknown, recommended):
    evaluator = Evaluator(broken, unknown)
    result, events = run(evaluator, pinned=PINNED)
    assert result.test.comparison.verdict == "better"
    assert result.recommendation == recommended
    assert result.pinned.count("broken") == len(broken)
    assert result.pinned.count("unknown") == len(unknown)
    assert any(event.type == "mipro.pinned.checked" for event in events)


def test_pinned_rows_are_asked_once_for_each_prompt_and_are_in_no_score():
    evaluator = Evaluator(broken=(1,))
    result, _ = run(evaluator, pinned=PINNED)
    counts = Counter(rollout.split for rollout in evaluator.asked)
    assert counts["pinned"] == 2 * len(PINNED) == 2 * result.plan.pinned_rows
    assert result.test.comparison.n == 40
    assert result.rollouts <= SETTINGS.budget
    assert result.plan.total == SETTINGS.budget + 2 * 40 + 2 * len(PINNED)


def test_without_pinned_rows_there_is_no_check():
    result, events = run(Evaluator())
    assert result.pinned is None
    assert not any(event.type.startswith("mipro.pinned") for event in events)


def test_rows_like_a_pinned_one_leave_train_and_val():
    text = rows("va", 24)[3][0]
    result, _ = run(Evaluator(), pinned=[Example(0, text, "label 0")])
    assert result.data.rows["val"] == 23
    assert [overlap.kept for overlap in result.data.overlaps] == [("pinned", 0)]


def test_partial_scores_count_as_worse_when_they_drop():
    check = check_pinned(PINNED, [Outcome(0.5), Outcome(0.5)], [Outcome(0.4), Outcome(0.5)])
    assert [row.status for row in check.rows] == ["broken", "held"]
    assert not check.holds


# ---- fixed parts


def test_proposals_without_a_fixed_part_are_refused_and_counted():
    guard = LeakGuard(task_with(fixed=FIXED))
    good = f"Look twice. {FIXED[0]} {FIXED[1]}"
    nearly = f"Look at it again. {FIXED[0]} {FIXED[1].replace(chr(160), ' ')}"
    found = screen([Instruction(text, "x", 0) for text in (good, nearly, "Look twice at it.")], [], guard)
    assert [instruction.text for instruction in found.accepted] == [good]
    assert found.refused == {LACKS_FIXED: 2}


def test_every_instruction_of_a_run_holds_the_fixed_parts():
    def forgetful(messages, temperature):
        return f"Improved number {len(messages[1]['content'])} without anything fixed in it."

    proposer = MixedProposer(MetaModelProposer(forgetful), PatternProposer())
    evaluator = Evaluator()
    result = optimize(task_with(fixed=FIXED), evaluator, proposer, SETTINGS)
    texts = [instruction.text for instruction in result.space.stages[0].instructions]
    assert len(texts) > 4
    assert all(part in text for text in texts for part in FIXED)
    assert all(part in r.candidate.instruction for r in evaluator.asked for part in FIXED)
    assert result.refused[LACKS_FIXED] > 0


def test_the_meta_model_is_told_what_is_fixed():
    request = ProposalRequest(task_with(fixed=FIXED), Evidence(), 0, 1, 0)
    system, user = proposal_messages(request, "", 0)
    assert "fixed_parts" in system["content"]
    assert "Never mention prices." in user["content"]
    plain = proposal_messages(replace(request, task=task_with()), "", 0)
    assert "fixed_parts" not in plain[0]["content"] + plain[1]["content"]


def test_a_starting_instruction_that_lacks_a_fixed_part_is_refused():
    task = replace(task_with(fixed=FIXED), instruction="Sort it.")
    with pytest.raises(ConfigError, match="fixed part"):
        optimize(task, Evaluator(), PatternProposer(), SETTINGS)


def test_tasks_without_labels_get_patterns_that_speak_of_no_label():
    task = replace(task_with(), labels=())
    found = PatternProposer().propose(ProposalRequest(task, Evidence(), 0, 5, 0))
    assert [instruction.text for instruction in found] == list(FREE_PATTERNS[:5])
    assert not any("label" in text for text in FREE_PATTERNS)


@pytest.mark.parametrize("part", ['Say "none"', "Cafe\u0301 only."])
def test_tidying_an_answer_does_not_break_a_fixed_part(part):
    answer = f'"Look at every word. {part}"' if part.endswith(".") else f"Look at every word. {part}"
    proposer = MetaModelProposer(lambda messages, temperature: answer)
    task = replace(task_with(fixed=(part,)), instruction=f"Sort it. {part}")
    (found,) = proposer.propose(ProposalRequest(task, Evidence(), 0, 1, 0))
    assert part in found.text
