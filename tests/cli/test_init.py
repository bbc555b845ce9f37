"""``mipro-walk init``: by flags, in a pipe, and in a terminal with a person."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mipro_walk.project.loading import load_project
from tests.cli.terminal import Terminal, clean_environment, run_command

PROMPT = "›"


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    path = tmp_path / "tickets.csv"
    rows = [f"{i},My request number {i} is about {topic},{topic}" for i, topic in enumerate(["cards", "loans"] * 30)]
    path.write_text("\n".join(["id,message,team", *rows, "60,,cards", "61,[red]markup[/red] \x1b[31m,Cards"]) + "\n")
    return path


def init(tmp_path: Path, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(
        "init", *arguments, env=clean_environment(tmp_path / "home", **environment), cwd=tmp_path, code=code
    )


def test_without_a_terminal_every_default_is_taken_and_told_as_json(tmp_path: Path, tickets: Path) -> None:
    done = init(tmp_path, str(tickets), "--label", "team", "--json")
    document = json.loads(done.stdout)
    assert document["rows"] == {"read": 62, "used": 61, "dropped": 1}
    assert document["dropped"] == [{"row": 62, "reason": "has nothing in 'message'"}]
    assert {finding["code"]: finding["rows"] for finding in document["findings"]} == {
        "empty-text": [62],
        "label-spelling": [63],
        "control-characters": [63],
    }
    assert (document["kind"], document["columns"], document["target"]) == ("classification", ["message"], "team")
    assert Path(document["folder"]) == tmp_path / "tickets"
    project = load_project(tmp_path / "tickets")
    assert {split: len(rows) for split, rows in project.rows.items()} == document["splits"]
    assert "\x1b" not in done.stderr


def test_foreign_text_is_shown_as_it_is_and_moves_nothing(tmp_path: Path, tickets: Path) -> None:
    lines = tickets.read_text().splitlines()
    tickets.write_text("\n".join([lines[0], lines[-1], *lines[1:-1]]) + "\n")
    shown = init(tmp_path, str(tickets), "--label", "team", MIPRO_WALK_COLOR="always").stderr
    assert "[red]markup[/red] \\x1b[31m" in re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_every_flag_can_come_from_the_environment(tmp_path: Path, tickets: Path) -> None:
    document = json.loads(
        init(
            tmp_path,
            str(tickets),
            "--json",
            MIPRO_WALK_LABEL="team",
            MIPRO_WALK_TEXT="message",
            MIPRO_WALK_KIND="short_answer",
            MIPRO_WALK_FOLDER="elsewhere",
            MIPRO_WALK_TEST_SHARE="0.5",
        ).stdout
    )
    assert document["kind"] == "short_answer"
    assert Path(document["folder"]).name == "elsewhere"
    assert document["splits"]["test"] == 31


REFUSED = [
    ([], "Which file holds your examples? CSV, TSV, JSON lines, Parquet or Excel. Nobody can be asked here.", 2),
    (["nothing.csv"], "There is no file 'nothing.csv'.", 2),
    (["tickets.csv", "--hub", "a/b"], "DATA, --hub and --sample exclude each other.", 2),
    (["tickets.csv", "--label", "taem"], "There is no column 'taem' in tickets.csv. Did you mean 'team'?", 2),
    (["tickets.csv", "--split-column", "tema", "--label", "team"], "There is no column 'tema' in tickets.csv.", 2),
    (["tickets.csv", "--label", "team", "--kind", "rating"], "The scale of 'team' is not clear.", 2),
    (["tickets.csv", "--label", "team", "--profile", "fast"], "Unknown profile 'fast'.", 2),
    (["tickets.csv", "--label", "team", "--folder", "no/such/place"], "There is no folder ", 2),
    (["tickets.csv", "--label", "team", "--folder", "home"], "The folder 'home' is not empty.", 2),
    (["tickets.csv", "--label", "team", "--labels", "tickets.csv"], "tickets.csv has no column 'label'.", 2),
    (["tickets.csv", "--label", "id", "--kind", "classification"], "tickets.csv cannot be used as it is.", 2),
    (["tickets.csv", "--max-mb", "0.001"], "tickets.csv has 0 MB; more than 0.001 MB are not read unasked.", 2),
    (["unclear.csv"], "What is text and what is answer in unclear.csv is not clear.", 2),
]


@pytest.mark.parametrize(
    ("arguments", "message", "code"), REFUSED, ids=[" ".join(case[0]) or "nothing" for case in REFUSED]
)
def test_what_cannot_be_done_is_said_with_a_fix_and_writes_nothing(
    tmp_path: Path, tickets: Path, arguments: list[str], message: str, code: int
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "kept.txt").write_text("kept")
    lines = [f"some words of row {i},{'xyz'[i % 3]},{'uvw'[i % 2]}" for i in range(30)]
    (tmp_path / "unclear.csv").write_text("\n".join(["a,b,c", *lines]) + "\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    said = init(tmp_path, *arguments, code=code).stderr
    assert message in said
    assert "Fix:" in said
    assert "Traceback" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_list_of_labels_with_meanings_is_kept(tmp_path: Path, tickets: Path) -> None:
    (tmp_path / "teams.csv").write_text("label,description\ncards,about cards\nloans,\n")
    init(tmp_path, str(tickets), "--label", "team", "--labels", "teams.csv", "--folder", "p")
    assert (tmp_path / "p" / "labels.csv").read_text() == "label,description\ncards,about cards\nloans,\n"


def test_what_reading_needs_is_written_down(tmp_path: Path) -> None:
    rows = [f"caf\xe9 number {i}:{'ab'[i % 2]}" for i in range(30)]
    (tmp_path / "data.csv").write_bytes("\n".join(["text:label", *rows]).encode("cp1252"))
    init(tmp_path, "data.csv", "--delimiter", ":", "--folder", "p")
    task = (tmp_path / "p" / "task.toml").read_text()
    assert 'delimiter = ":"' in task
    assert 'encoding = "cp1252"' in task
    assert load_project(tmp_path / "p").rows["train"][0].query.startswith("café")


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "GROQ_API_KEY", ""])
def test_the_profile_fits_the_keys_of_the_machine(tmp_path: Path, tickets: Path, key: str) -> None:
    environment = {key: "k" * 40} if key else {}
    document = json.loads(init(tmp_path, str(tickets), "--label", "team", "--json", **environment).stdout)
    assert document["profile"] == {"OPENAI_API_KEY": "walkthrough", "GROQ_API_KEY": "groq", "": "quick-local"}[key]


def test_a_sample_needs_no_data(tmp_path: Path) -> None:
    document = json.loads(init(tmp_path, "--sample", "extraction", "--folder", "notes", "--json").stdout)
    assert document["kind"] == "extraction"
    assert "schema.json" in document["files"]
    assert load_project(tmp_path / "notes").definition.kind == "extraction"


def test_config_check_reads_a_whole_project(tmp_path: Path, tickets: Path) -> None:
    def check(*arguments: str, code: int) -> subprocess.CompletedProcess[str]:
        return run_command(
            "config", "check", *arguments, env=clean_environment(tmp_path / "home"), cwd=tmp_path, code=code
        )

    init(tmp_path, str(tickets), "--label", "team", "--folder", "p")
    assert "OK: p is a valid project (train 25, val 18, test 18 rows; 1 left out)." in check("p", code=0).stderr
    task = tmp_path / "p" / "task.toml"
    task.write_text(task.read_text().replace('target = "team"', 'target = "teams"'))
    document = json.loads(check("p/task.toml", "--json", code=2).stdout)
    assert document["ok"] is False
    assert document["problems"] == ["task.toml: There is no column 'teams' in data.csv. Did you mean 'team'?"]


# ---- a person at a terminal


class Person:
    """Starts ``init`` in terminals; ends what is left of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Terminal] = []

    def start(self, *arguments: str, columns: int = 100) -> Terminal:
        environment = clean_environment(self.folder / "home")
        terminal = Terminal(["init", *arguments], environment, columns)
        self.started.append(terminal)
        return terminal


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    (tmp_path / "home").mkdir()
    person = Person(tmp_path)
    yield person
    for terminal in person.started:
        terminal.child.close(force=True)


def answer(terminal: Terminal, question: str, text: str, seconds: float = 60) -> None:
    terminal.wait_for(question, seconds)
    terminal.wait_for(PROMPT, seconds)
    terminal.answer(text)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_file_a_folder_and_enters_lead_to_a_project(person: Person, tickets: Path, columns: int) -> None:
    folder = person.folder / "mine"
    terminal = person.start(columns=columns)
    answer(terminal, "Which file holds your", "no-such.csv")
    terminal.wait_for("There is no file")
    answer(terminal, "Which file holds your", str(tickets))
    terminal.wait_for("Is that so?")
    assert "Myrequestnumber0" in "".join(terminal.text.split())
    assert "team" in terminal.text
    answer(terminal, "Is that so?", "")
    answer(terminal, "Which model should answer?", "")
    answer(terminal, "Which folder should it go", str(folder))
    answer(terminal, "What is the task", "Route a message to a team.")
    answer(terminal, "Write the project to", "")
    assert terminal.end(60) == 0
    assert all(len(line) <= columns for line in terminal.text.splitlines())
    project = load_project(folder)
    assert project.definition.task.description == "Route a message to a team."
    assert sum(map(len, project.rows.values())) == 61


def test_a_wrong_guess_is_corrected_by_numbers_or_names(person: Person, tickets: Path) -> None:
    folder = person.folder / "mine"
    terminal = person.start(str(tickets), "--folder", str(folder), "--profile", "quick-local", "--yes")
    answer(terminal, "Is that so?", "c")
    terminal.wait_for("1 id, 2 message, 3 team")
    answer(terminal, "Which columns hold the text?", "2, nothing")
    terminal.wait_for("There is no column 'nothing'.")
    answer(terminal, "Which columns hold the text?", "3, id")
    answer(terminal, "Which column holds the right answer?", "message")
    answer(terminal, "What is an answer?", "4")
    answer(terminal, "Is that so?", "")
    answer(terminal, "What is the task", "")
    assert terminal.end(60) == 0
    definition = load_project(folder).definition
    assert (definition.data.columns, definition.data.target) == (["team", "id"], "message")
    assert definition.kind == "short_answer"


@pytest.mark.parametrize("question", ["Is that so?", "Write the project to"])
def test_quitting_writes_nothing(person: Person, tickets: Path, question: str) -> None:
    folder = person.folder / "mine"
    terminal = person.start(str(tickets), "--folder", str(folder), "--profile", "quick-local", "--description", "x")
    if question != "Is that so?":
        answer(terminal, "Is that so?", "")
    answer(terminal, question, "q")
    assert terminal.end(60) == 130
    assert "Stopped; nothing was written." in terminal.text
    assert not folder.exists()


def test_ctrl_c_writes_nothing(person: Person, tickets: Path) -> None:
    terminal = person.start(str(tickets), "--folder", str(person.folder / "mine"))
    terminal.wait_for("Is that so?", 60)
    terminal.child.sendintr()
    assert terminal.end(60) == 130
    assert sorted(os.listdir(person.folder)) == ["home", "tickets.csv"]
