"""`mipro-walk eval`: a good prompt passes, a worsened one fails, and nothing recorded is asked again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import tomli_w

from mipro_walk.cli.main import main
from mipro_walk.ledger import Ledger
from tests import json_schemas
from tests.fakes.openai_server import Scripted, ScriptedOpenAI, keyword_answer

ROWS = 30
GOOD = "Choose the intent that fits best."
BAD = "Always answer with something."


def answer(body: dict[str, Any]) -> str:
    """Read the question, unless the instruction was spoiled."""
    if BAD in body["messages"][0]["content"]:
        return "no_such_intent"
    return keyword_answer(body)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedOpenAI]:
    with ScriptedOpenAI(answer=answer) as server:
        monkeypatch.setenv("MIPRO_WALK_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.chdir(tmp_path)
        section = {
            "policy": {"provider": "openai", "model": "gpt-4o-mini"},
            "mipro": {"test_size": ROWS, "test_split": "test", "max_retries": 0, "num_demos": 2},
            "env_config": {"num_intents": 10},
        }
        Path("mipro_config.toml").write_text(tomli_w.dumps({"prompt_learning": section}))
        save("good.json", GOOD)
        save("bad.json", BAD)
        yield server


def save(name: str, instruction: str, demos: int = 0) -> None:
    document = {
        "schema_version": 1,
        "kind": "mipro_walk.best_prompt",
        "instruction": {"role": "system", "content": instruction},
        "demonstrations": [{"query": f"query {i}", "label": "card_arrival"} for i in range(demos)],
    }
    Path(name).write_text(json.dumps(document))


def call(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["eval", *arguments, "--json", "--yes"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    json_schemas.require_valid(json_schemas.EVAL, found)
    return found


def test_a_good_prompt_passes_and_its_score_has_n_and_an_interval(model, capsys) -> None:
    found = call(capsys, "good.json", "--fail-under", "0.1")
    prompt = found["prompt"]
    assert (found["schema_version"], found["passed"], found["split"], prompt["n"]) == (1, True, "test", ROWS)
    assert prompt["low"] < prompt["mean"] < prompt["high"] or prompt["mean"] in (0.0, 1.0)
    assert found["calls"]["rollouts_made"] == len(model.requests) == ROWS


def test_a_worsened_prompt_fails_with_exit_6_and_names_the_rows_it_lost(model, capsys) -> None:
    found = call(capsys, "bad.json", "--baseline", "good.json", "--max-regression", "0.02", code=6)
    assert found["passed"] is False
    assert found["comparison"]["verdict"] == "worse"
    assert len(found["regressed"]) == found["comparison"]["lost"] > 3
    assert found["regressed"][0]["prompt"]["predicted"] != found["regressed"][0]["label"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["good.json"], 0),
        (["good.json", "--fail-under", "0.1"], 0),
        (["bad.json", "--fail-under", "0.5"], 6),
        (["bad.json", "--baseline", "good.json", "--max-regression", "0.02", "--fail-under", "0.5"], 6),
    ],
    ids=["measured", "passed", "failed", "compared and failed"],
)
def test_the_published_schema_notices_every_key_that_changes(model, capsys, arguments: list[str], code: int) -> None:
    found = call(capsys, *arguments, code=code)
    assert json_schemas.unnoticed_changes(json_schemas.EVAL, found) == []
    assert [check["passed"] for check in found["checks"]] == [code == 0 for _ in found["checks"]]
    assert bool(found["regressed"]) == ("--baseline" in arguments)


def test_rows_that_failed_are_counted_as_the_schema_says(model, capsys) -> None:
    call(capsys, "good.json")
    refused = model.bodies[0]["messages"][-1]["content"]
    model.answer = lambda body: Scripted.error(400) if body["messages"][-1]["content"] == refused else answer(body)
    found = call(capsys, "bad.json", "--baseline", "good.json")
    assert (found["prompt"]["unknown"], found["comparison"]["excluded"]) == (1, 1)
    without_any = found | {"prompt": found["prompt"] | {"mean": None, "low": 0.0, "high": 1.0, "n": 0}}
    json_schemas.require_valid(json_schemas.EVAL, without_any)
    without_any["prompt"]["n"] = 1
    assert not json_schemas.validator(json_schemas.EVAL).is_valid(without_any)


def test_below_fail_under_is_exit_6_and_says_the_interval(model, capsys) -> None:
    assert main(["eval", "bad.json", "--fail-under", "0.5", "--yes"]) == 6
    said = capsys.readouterr()
    assert "--fail-under" in said.err
    assert "95 % interval" in said.err
    assert "FAIL" in said.out


def test_the_better_prompt_does_not_regress(model, capsys) -> None:
    found = call(capsys, "good.json", "bad.json", "--max-regression", "0")
    assert found["passed"] is True
    assert found["comparison"]["verdict"] == "better"
    assert found["regressed"] == []


def test_what_was_recorded_is_not_asked_again_unless_fresh(model, capsys) -> None:
    first = call(capsys, "good.json")
    asked = len(model.requests)
    again = call(capsys, "good.json", "--baseline", "good.json")
    assert len(model.requests) == asked
    assert again["calls"]["rollouts_recorded"] == 2 * ROWS
    assert (again["prompt"]["mean"], again["comparison"]["difference"]) == (first["prompt"]["mean"], 0.0)
    call(capsys, "good.json", "--fresh")
    assert len(model.requests) == asked + ROWS


def test_other_parameters_or_another_model_are_asked_anew(model, capsys, monkeypatch) -> None:
    call(capsys, "good.json")
    for name, value in (("EXTRA", "x"), ("POLICY_TEMPERATURE", "0.5"), ("POLICY_REASONING_EFFORT", "low")):
        monkeypatch.setenv(f"MIPRO_WALK_{name}", value)
        asked = len(model.requests)
        call(capsys, "good.json")
        assert len(model.requests) - asked == (0 if name == "EXTRA" else ROWS), name
    monkeypatch.setenv("MIPRO_WALK_POLICY_REQUESTS_PER_MINUTE", "100000")
    monkeypatch.setenv("MIPRO_WALK_POLICY_TIMEOUT_SECONDS", "30")
    asked = len(model.requests)
    call(capsys, "good.json")
    assert len(model.requests) == asked  # limits determine nothing


def test_what_a_run_has_measured_is_not_asked_again(model, capsys, tmp_path) -> None:
    assert main(["optimize", "--yes", "--json", "--results", "results"]) == 0
    capsys.readouterr()
    asked = len(model.requests)
    found = call(capsys, "results", "--baseline", "baseline", "--max-regression", "1")
    assert len(model.requests) == asked
    assert found["calls"]["rollouts_made"] == 0
    score = json.loads(Path("results/best_prompt.json").read_text())["score"]
    assert found["reference"]["mean"] == pytest.approx(score["baseline"])


def test_measurements_are_no_jobs(model, capsys, tmp_path) -> None:
    call(capsys, "good.json")
    ledger = Ledger(f"sqlite:///{tmp_path / 'home' / 'ledger.sqlite3'}")
    try:
        assert ledger.list_jobs() == []
    finally:
        ledger.close()


def test_a_single_row_is_one_row(model, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MIPRO_WALK_TEST_SIZE", "1")
    assert main(["eval", "good.json", "--yes"]) == 0
    said = capsys.readouterr()
    assert "on 1 test row (" in said.out
    assert "1 rollout asked, " in said.out
    assert "1 test row, 1 prompt: 1 of 1 to ask" in said.err


def test_junit_has_a_case_for_each_check_and_the_lost_rows(model, capsys) -> None:
    arguments = ["bad.json", "--baseline", "good.json", "--max-regression", "0.02", "--fail-under", "0"]
    call(capsys, *arguments, "--junit", "eval.xml", code=6)
    suite = ElementTree.parse("eval.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert list(cases) == ["measured", "fail-under", "max-regression"]
    failure = cases["max-regression"].find("failure")
    assert failure is not None
    assert "test row " in (failure.text or "")
    assert cases["fail-under"].find("failure") is None


def test_an_endpoint_that_is_away_is_an_error_and_never_a_score(model, capsys) -> None:
    model.answer = lambda _body: Scripted.error(500)
    assert main(["eval", "good.json", "--fail-under", "0.1", "--junit", "eval.xml", "--yes"]) == 7
    root = ElementTree.parse("eval.xml").getroot()
    assert (root.get("errors"), root.get("failures")) == ("1", "0")
    model.answer = answer
    assert call(capsys, "good.json")["prompt"]["unknown"] == 0


def test_a_refused_key_pauses(model, capsys, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-0123456789")
    assert main(["eval", "good.json", "--yes"]) == 7
    assert "sk-wrong" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.json"], "no prompt at"),
        (["mipro_config.toml"], "not JSON"),
        (["good.json", "bad.json", "--baseline", "bad.json"], "one of them"),
        (["good.json", "--max-regression", "0.1"], "--baseline OLD"),
        (["good.json", "--config", "nothing.toml"], "nothing.toml"),
    ],
)
def test_wrong_usage_is_exit_2(model, capsys, arguments: list[str], words: str) -> None:
    assert main(["eval", *arguments, "--yes"]) == 2
    assert words in capsys.readouterr().err
    assert model.requests == []


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"schema_version": 1},
        {"kind": "mipro_walk.best_prompt", "schema_version": 2},
        {"kind": "mipro_walk.best_prompt", "schema_version": 1},
        {"kind": "mipro_walk.best_prompt", "schema_version": 1, "instruction": {"content": "x"}, "demonstrations": [1]},
    ],
)
def test_a_damaged_prompt_is_refused(model, capsys, document: Any) -> None:
    Path("damaged.json").write_text(json.dumps(document))
    assert main(["eval", "damaged.json", "--yes"]) == 2


def test_nothing_is_asked_without_consent(model, capsys) -> None:
    assert main(["eval", "good.json"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert model.requests == []


def test_a_cap_stops_before_more_is_bought_and_a_higher_one_goes_on(model, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MIPRO_WALK_POLICY_INPUT_PRICE_PER_MILLION", "1000")
    monkeypatch.setenv("MIPRO_WALK_POLICY_OUTPUT_PRICE_PER_MILLION", "1000")
    assert main(["eval", "good.json", "--max-cost-usd", "0.0001"]) == 7
    assert len(model.requests) == 20
    found = call(capsys, "good.json", "--max-cost-usd", "1000")
    assert found["prompt"]["n"] == ROWS
    assert len(model.requests) == ROWS


def test_a_cap_needs_a_known_price(model, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MIPRO_WALK_POLICY_MODEL", "nobody-knows-this")
    assert main(["eval", "good.json", "--max-cost-usd", "1"]) == 2
    assert "input_price_per_million" in capsys.readouterr().err


def test_a_junit_file_that_cannot_be_written_is_told(model, capsys) -> None:
    assert main(["eval", "good.json", "--yes", "--junit", "no/such/folder/eval.xml"]) == 3


def test_escapes_of_a_prompt_reach_no_terminal(model, capsys) -> None:
    model.answer = lambda body: "\x1b[31mred" if BAD in body["messages"][0]["content"] else keyword_answer(body)
    main(["eval", "bad.json", "good.json", "--yes", "--junit", "eval.xml"])
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    ElementTree.parse("eval.xml")
