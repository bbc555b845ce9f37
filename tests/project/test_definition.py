"""task.toml: what is accepted, and that every mistake in it is named at once."""

from __future__ import annotations

import copy

import pytest

from mipro_walk.errors import ConfigError
from mipro_walk.project.definition import config_of, load_definition, parse_definition, project_of
from mipro_walk.project.templates import TemplateProblem, fill, fixed_parts, template_fields, without_marks

GOOD = {
    "task": {"name": "t", "kind": "classification", "description": "d", "instruction": "Sort it."},
    "data": {"file": "data.csv", "columns": ["text"], "target": "label"},
}


def changed(**tables):
    document = copy.deepcopy(GOOD)
    for table, values in tables.items():
        document.setdefault(table, {}).update(values)
    return document


def problems(document, tmp_path):
    with pytest.raises(ConfigError) as caught:
        parse_definition(document, tmp_path)
    return caught.value.problems


def test_defaults_are_filled_in(tmp_path):
    definition = parse_definition(GOOD, tmp_path)
    assert definition.template == "{text}"
    assert definition.metric == "exact"
    assert definition.data.shares == {"train": 0.4, "val": 0.3, "test": 0.3}
    assert (definition.fixed, definition.instruction) == ((), "Sort it.")


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"task": {"kind": "clasification"}}, "task.kind = 'clasification': must be one of"),
        ({"task": {"name": "My Task"}}, "must be 1 to 64 characters of a-z"),
        ({"task": {"instruktion": "x"}}, "Did you mean 'instruction'?"),
        ({"task": {"columns": ["a"]}}, "It belongs in [data]."),
        ({"task": {"pinned": [0]}}, "task.pinned = [0]: must be a list of row numbers, from 1"),
        ({"task": {"pinned": [3, 3]}}, "names a row twice"),
        ({"task": {"instruction": "{{fixed}}x"}}, "has {{fixed}} without {{/fixed}}"),
        ({"task": {"instruction": "{{fixed}}x{{/fixed}}"}}, "fixed as a whole"),
        ({"dta": {}}, "Unknown key 'dta' in the top level. Did you mean 'data'?"),
        ({"data": {"hub": "a/b"}}, "either 'file' or 'hub'"),
        ({"data": {"revision": "main"}}, "only with data.hub"),
        ({"data": {"columns": []}}, "must be a list of texts, at least one"),
        ({"data": {"columns": ["text", "text"]}}, "names a column twice"),
        ({"data": {"target": "text"}}, "the answer would show"),
        ({"data": {"encoding": "klingon"}}, "data.encoding = 'klingon': unknown"),
        ({"data": {"train": 0.5}}, "add up to 0.5"),
        ({"data": {"train": 0.5, "val": 0.5, "test": 0.0}}, "must all be above 0"),
        ({"data": {"train": True}}, "data.train = true: must be a number from 0 to 1"),
        ({"data": {"split_column": "s", "train": 1.0}}, "exclude each other"),
        ({"data": {"columns": ["a", "b"]}}, "[prompt] needs a template for several columns"),
        (
            {"prompt": {"template": "{texte}"}},
            "has the field 'texte', which is not in data.columns. Did you mean 'text'?",
        ),
        ({"prompt": {"template": "{text"}}, "has a single '{' at character 1"),
        ({"prompt": {"template": "nothing"}}, "never shows 'text'"),
        ({"labels": {"values": ["a"]}}, "at least two"),
        ({"labels": {"values": ["a", "b", "a"]}}, "holds 'a' twice"),
        ({"labels": {"values": ["a", "b"], "file": "l.csv"}}, "exclude each other"),
        ({"labels": {"separator": ","}}, "only for kind"),
        ({"task": {"kind": "rating"}, "labels": {"values": ["1", "2"]}}, "means nothing for kind = 'rating'"),
        ({"task": {"kind": "rating"}}, "needs low and high"),
        ({"task": {"kind": "rating"}, "scoring": {"low": 5, "high": 1}}, "must be above scoring.low"),
        ({"task": {"kind": "extraction"}}, "needs schema"),
        ({"task": {"kind": "judged"}}, "needs a rubric"),
        ({"scoring": {"metric": "f1"}}, 'classification has "exact"'),
        ({"scoring": {"rubric": "x"}}, "scoring.rubric means nothing for kind = 'classification'"),
        ({"scoring": {"schema": "s.json"}}, "scoring.schema means nothing"),
        ({"scoring": 3}, "must be a table, [scoring]"),
    ],
)
def test_mistake_is_named_with_its_key(tables, said, tmp_path):
    document = changed(**{k: v for k, v in tables.items() if isinstance(v, dict)})
    document |= {k: v for k, v in tables.items() if not isinstance(v, dict)}
    found = problems(document, tmp_path)
    assert any(said in problem for problem in found), found


def test_all_mistakes_come_at_once_with_their_lines(tmp_path):
    path = tmp_path / "task.toml"
    path.write_text('[task]\nname = "X"\nkind = "rating"\n\n[data]\ncolumns = ["a"]\ntarget = "a"\nfile = "d.csv"\n')
    with pytest.raises(ConfigError) as caught:
        load_definition(tmp_path)
    assert "(line 2)" in caught.value.problems[2]
    assert len(caught.value.problems) == 4
    assert "task definition" in caught.value.message
    assert "docs/tasks.md" in caught.value.fix


def test_missing_keys_say_what_they_are_for(tmp_path):
    found = problems({"data": GOOD["data"]}, tmp_path)
    assert "[task] needs the key 'kind'. What an answer is, and so how it is scored." in found


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_before_utf_8_is_no_matter(tmp_path, mark):
    text = '[task]\nname="t"\nkind="short_answer"\ndescription="d"\ninstruction="ä"\n[data]\nfile="d"\ncolumns=["x"]\n'
    (tmp_path / "task.toml").write_bytes(mark + (text + 'target="y"').encode())
    assert load_definition(tmp_path).instruction == "ä"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfea\x00", "UTF-16"),
        (b"[task]\nname = '\xe4'\n", "not UTF-8 (line 2)"),
        (b"[task\n", "not valid TOML"),
        (b"x = " + b"[" * 40, "nested too deeply"),
        (b"#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_unreadable_files_are_refused_in_words(tmp_path, content, said):
    (tmp_path / "task.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=said.replace("(", r"\(").replace(")", r"\)")):
        load_definition(tmp_path)


def test_a_folder_without_a_task_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_definition(tmp_path)
    assert "mipro-walk init" in caught.value.fix


def test_project_and_configuration_are_found_from_each_other(tmp_path):
    (tmp_path / "task.toml").write_text("")
    for path in (tmp_path, tmp_path / "task.toml", tmp_path / "mipro_config.toml"):
        assert project_of(path) == tmp_path
        assert config_of(path) == tmp_path / "mipro_config.toml"
    assert config_of(tmp_path / "other.toml") == tmp_path / "other.toml"
    assert project_of(tmp_path / "deeper" / "x.toml") is None


# ---- the two small languages


def test_templates_fill_fields_in_one_pass():
    assert template_fields("{a} {{x}} {b c} {a}") == ["a", "b c"]
    assert fill("{a} {{x}} {b}", {"a": "{b}", "b": "{{"}) == "{b} {x} {{"


@pytest.mark.parametrize("text", ["{", "}", "{a", "a}", "{}", "{ }", "{{a}"])
def test_unpaired_braces_are_refused(text):
    with pytest.raises(TemplateProblem):
        template_fields(text)


def test_fixed_parts_are_kept_byte_for_byte():
    text = "Say it.\n{{fixed}} a\u00a0b\r\n{{/fixed}} and {{fixed}}\u0301x{{/fixed}}"
    assert fixed_parts(text) == (" a\u00a0b\r\n", "\u0301x")
    assert without_marks(text) == "Say it.\n a\u00a0b\r\n and \u0301x"


@pytest.mark.parametrize(
    "text",
    ["{{fixed}}", "{{/fixed}}", "{{fixed}}a{{fixed}}b{{/fixed}}", "{{fixed}} {{/fixed}}", "{{/fixed}}a{{fixed}}"],
)
def test_marks_without_partner_or_text_are_refused(text):
    with pytest.raises(TemplateProblem):
        fixed_parts(text)
