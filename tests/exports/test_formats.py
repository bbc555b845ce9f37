"""What the exports of a whole job hold, checked against the job's own documents, and loaded by the real frameworks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mipro_walk.errors import ConfigError
from mipro_walk.exports.formats import FORMATS
from tests.exports.made import made_source
from tests.exports.test_escaping import rendered
from tests.fakes.openai_server import ScriptedOpenAI, find_labels, keyword_answer


@pytest.fixture
def job(finish):
    return finish("tool_calls")


def rollouts_of(source):
    return [json.loads(line) for line in FORMATS["rollouts"].make(source).splitlines()]


# ---- rollouts


def test_every_recorded_rollout_is_told_once_with_its_row(job):
    lines, recorded = rollouts_of(job.source), job.source.ledger()
    assert len(lines) == len(recorded.outcomes)
    keys = [(line["split"], line["instruction"], line["demo_set"], line["seed"]) for line in lines]
    assert len(set(keys)) == len(keys)
    assert None not in {part for key in keys for part in key}
    rows = {(split, row.seed): row for split, found in recorded.rows.items() for row in found}
    assert all(rows[line["split"], line["seed"]].query == line["query"] for line in lines)
    assert all((line["score"] == 1.0) == (line["predicted"] == line["label"]) for line in lines)


def test_rollouts_give_the_scores_of_the_final_test_again(job):
    lines, score = rollouts_of(job.source), job.documents["best_prompt.json"]["score"]
    for choice in ("baseline", "winner"):
        key = job.documents["job_metadata.json"][f"{choice}_key"]
        mine = [x["score"] for x in lines if x["split"] == "test" and [x["instruction"], x["demo_set"]] == key]
        assert (len(mine), sum(mine) / len(mine)) == (score["n"], score[choice])


def test_rollouts_add_up_to_what_the_policy_model_consumed(job):
    lines, used = rollouts_of(job.source), job.documents["job_metadata.json"]["usage"]["policy"]
    for name in ("calls", "prompt_tokens", "completion_tokens"):
        assert sum(line[name] for line in lines) == used[name]


def test_rollouts_of_a_job_without_recorded_rows_keep_their_outcomes(job):
    recorded = replace(job.source.ledger(), rows={})
    lines = rollouts_of(replace(job.source, recorded=recorded))
    assert len(lines) == len(recorded.outcomes)
    assert {line["split"] for line in lines} == {None}
    assert {line["score"] for line in lines} == {0.0, 1.0}


def test_rollouts_that_this_machine_does_not_have_are_refused(job):
    with pytest.raises(ConfigError, match="ledger does not hold"):
        rollouts_of(replace(job.source, recorded=None))


# ---- optuna


def test_study_is_loaded_by_optuna_with_every_trial(job, tmp_path):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    path = tmp_path / "study.log"
    path.write_text(FORMATS["optuna"].make(job.source), encoding="utf-8")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name=job.job_id, storage=storage)
    history = job.documents["score_history.json"]
    assert len(study.trials) == len(history["iterations"]) > 5
    for trial, told in zip(study.trials, history["iterations"], strict=True):
        assert trial.params == {"instruction": told["instruction"], "demo_set": told["demo_set"]}
        assert trial.value == told["estimate"]
        assert trial.user_attrs["n"] == told["num_seeds"]
        assert (trial.user_attrs["rung"], trial.user_attrs["rollouts"]) == (told["rung"], told["rollouts"])
    assert study.best_value == max(t["estimate"] for t in history["iterations"])
    assert study.user_attrs["instructions"][0]["source"] == "baseline"


def test_trial_without_an_estimate_is_a_failed_one(job, tmp_path):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    history = json.loads(json.dumps(job.documents["score_history.json"]))
    history["iterations"][1]["estimate"] = None
    path = tmp_path / "study.log"
    documents = {**job.documents, "score_history.json": history}
    path.write_text(FORMATS["optuna"].make(replace(job.source, documents=documents)), encoding="utf-8")
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    states = [trial.state.name for trial in optuna.load_study(study_name=job.job_id, storage=storage).trials]
    assert states.count("FAIL") == 1
    assert states[1] == "FAIL"


# ---- promptfoo


def test_promptfoo_asks_about_every_test_row_as_the_job_did(finished):
    config = json.loads(FORMATS["promptfoo"].make(finished.choose("winner")))
    rows = finished.test_rows()
    assert len(config["tests"]) == len(rows) >= 20
    (prompt,), (provider,) = config["prompts"], config["providers"]
    assert provider["config"]["omitDefaults"] is True
    for test, (query, label) in zip(config["tests"], rows, strict=True):
        assert json.loads(test["vars"]["label"]) == label
        messages = rendered(json.loads(prompt["raw"]), test["vars"])
        model = provider["id"].removeprefix("openai:chat:")
        body = {"model": model, "messages": messages, **provider["config"]["passthrough"]}
        assert json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() == finished.sent("winner", query)


def test_promptfoo_without_recorded_rows_tests_those_that_the_results_name(job):
    config = json.loads(FORMATS["promptfoo"].make(replace(job.choose("winner"), recorded=None)))
    told = job.documents["explanations.json"]
    assert len(config["tests"]) == len(told["fixed"]) + len(told["broken"]) > 0


# ---- dspy


def test_dspy_loads_the_state_and_predicts_what_the_test_did(finished, tmp_path):
    dspy = pytest.importorskip("dspy", reason="dspy needs litellm, which is not installed here; see CONTRIBUTING.md")
    state = tmp_path / "program.json"
    state.write_text(FORMATS["dspy"].make(finished.choose("winner")), encoding="utf-8")
    program = dspy.Predict("query -> label")
    program.load(state)
    candidate = finished.choose("winner").candidate
    assert [(demo["query"], demo["label"]) for demo in program.demos] == [(d.query, d.label) for d in candidate.demos]
    assert program.signature.instructions.startswith(candidate.instruction)
    expected = {r["query"]: r["predicted"] for r in rollouts_of(finished.source) if is_winners(r, finished)}

    def answer(body):
        # The scripted model knows the form of the test only: ask it that way, answer in the adapter's.
        asked = body["messages"][-1]["content"]
        query = next(query for query, _ in finished.test_rows() if f"]]\n{query}\n" in asked)
        label = keyword_answer(finished.choose("winner").request().fill(query))
        return f"[[ ## label ## ]]\n{label}\n\n[[ ## completed ## ]]"

    with ScriptedOpenAI(answer=answer) as model:
        lm = dspy.LM("openai/scripted", api_key=model.key, api_base=model.base_url, cache=False)
        with dspy.context(lm=lm):
            predicted = {query: program(query=query).label for query, _ in finished.test_rows()}
        body = model.bodies[0]
    assert predicted == expected
    assert len(predicted) >= 20
    system = body["messages"][0]["content"]
    assert candidate.instruction in system
    labels = find_labels(finished.choose("winner").request().body)
    assert all(label in system for label in labels)
    assert sum(m["role"] == "assistant" for m in body["messages"]) == len(candidate.demos)


def is_winners(line, finished):
    key = finished.documents["job_metadata.json"]["winner_key"]
    return line["split"] == "test" and [line["instruction"], line["demo_set"]] == key


# ---- what there is not


@pytest.mark.parametrize("name", ["openai", "python", "langchain", "promptfoo"])
@pytest.mark.parametrize("request_of_it", [None, "absent", {"body": {"messages": []}, "placeholder": "{query}"}])
def test_request_that_is_not_known_is_refused_not_guessed(job, name, request_of_it):
    best = json.loads(json.dumps(job.documents["best_prompt.json"]))
    if request_of_it == "absent":
        del best["winner"]["request"]
    else:
        best["winner"]["request"] = request_of_it
    source = replace(job.choose("winner"), documents={"best_prompt.json": best})
    with pytest.raises(ConfigError, match="request") as refused:
        FORMATS[name].make(source)
    assert refused.value.fix


@pytest.mark.parametrize("name", ["dspy", "text", "markdown"])
def test_texts_are_exported_without_a_request(job, name):
    best = {**job.documents["best_prompt.json"]}
    best["winner"] = {**best["winner"], "request": None}
    made = FORMATS[name].make(replace(job.choose("winner"), documents={"best_prompt.json": best}))
    assert json.dumps(job.choose("winner").candidate.instruction)[1:-1] in made


def test_choice_of_the_prompt_counts(job):
    best = job.documents["best_prompt.json"]
    for choice in ("winner", "baseline"):
        assert FORMATS["text"].make(job.choose(choice)).startswith(f"[system]\n{best[choice]['instruction']}")
    made = {choice: FORMATS["openai"].make(job.choose(choice)) for choice in ("winner", "baseline", "recommended")}
    assert made["recommended"] == made[best["recommendation"]]
    assert made["winner"] != made["baseline"]


# Optuna writes the time of the export into its journal.
@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"optuna"}))
def test_same_job_gives_the_same_bytes(job, name):
    assert FORMATS[name].make(job.source) == FORMATS[name].make(job.source)


def test_made_sources_are_like_real_ones(job):
    made = made_source(job.choose("winner").candidate, "tool_calls")
    assert set(made.best) <= set(job.source.best)
    assert set(made.best["winner"]) <= set(job.source.best["winner"])
