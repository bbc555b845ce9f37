"""Reading data files: every format gives the same rows, every kind of bad input one clear message."""

from __future__ import annotations

import json
import os
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro_walk.errors import ConfigError
from mipro_walk.project.delimited import read_delimited
from mipro_walk.project.records import read_json
from mipro_walk.project.tables import read_table

ROWS = [("My card is lost", "lost"), ('She said "hi", twice', "other"), ("café\n2 lines", "other")]


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def workbook(path: Path, *sheets: tuple[str, list[list[object]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def csv_text(delimiter: str) -> str:
    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"'

    return "\n".join([f"text{delimiter}label", *(delimiter.join(map(quoted, row)) for row in ROWS)]) + "\n"


def make(path: Path) -> Path:
    """Write ROWS in the format of the name."""
    records = [dict(zip(("text", "label"), row, strict=True)) for row in ROWS]
    if path.suffix == ".xlsx":
        return workbook(path, ("Sheet", [["text", "label"], *map(list, ROWS)]))
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
        return path
    text = {
        ".csv": csv_text(","),
        ".txt": csv_text(";"),
        ".tsv": csv_text("\t"),
        ".jsonl": "\n".join(map(json.dumps, records)),
        ".json": json.dumps(records),
    }[path.suffix]
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".txt", ".tsv", ".jsonl", ".json", ".parquet", ".xlsx"])
def test_every_format_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    table = read_table(make(tmp_path / f"data{suffix}"))
    assert table.columns == ("text", "label")
    assert [tuple(row.cells.values()) for row in table.rows] == ROWS
    first = 1 if suffix in (".jsonl", ".json", ".parquet") else 2  # the header is row 1 where there is one
    assert [row.number for row in table.rows] == [first, first + 1, first + 2]
    assert not table.dropped
    assert not table.findings


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1"])
def test_encodings_are_found_out_and_said(write, encoding: str) -> None:
    path = write("data.csv", "text,label\ncafé au lait,a\ntwo,b\n".encode(encoding))
    table = read_table(path)
    assert table.rows[0].cells["text"] == "café au lait"
    assert [finding.action for finding in table.findings] == ["repaired"]
    assert read_table(path, encoding=table.encoding).rows == table.rows


def test_windows_text_is_told_with_an_example_to_judge_by(write) -> None:
    (finding,) = read_table(write("data.csv", b"text,label\none,a\ncaf\xe9,b\n")).findings
    assert finding.text == "Not UTF-8 (line 3 is); read as Windows-1252, such as 'café,b'."
    assert finding.level == "warning"


def test_a_named_encoding_is_obeyed(write) -> None:
    path = write("data.csv", "text,label\nпривет,a\n".encode("koi8_r"))
    assert read_table(path, encoding="koi8_r").rows[0].cells["text"] == "привет"


BAD = [
    ("empty.csv", b"", "empty.csv is empty."),
    ("blank.csv", b"\n\n  \n", "blank.csv is empty."),
    ("header.csv", b"text,label\n", "header.csv has a header and no rows."),
    ("twice.csv", b"text,text,label\na,b,c\n", "twice.csv has the column name 'text' 2 times (columns 1, 2)."),
    ("open.csv", b'text,label\na,b\n"c,d\ne,f\n', "open.csv: the quote that is opened in row 3 is never closed."),
    (
        "ragged.csv",
        b"text,label\na,b,c\nd,e,f\ng,h\n",
        "ragged.csv: 2 of 3 rows do not fit the header, the first is row 2: has 3 cells, the header has 2.",
    ),
    (
        "nul.csv",
        b"text,label\na,b\nc\x00,d\n",
        "nul.csv, line 3: a NUL byte. The file is damaged, binary, or in another encoding.",
    ),
    (
        "mixed.csv",
        b"text,label\ncaf\xe9,a\ncaf\xc3\xa9,b\n",
        "mixed.csv mixes encodings: line 2 is not UTF-8, line 3 is UTF-8.",
    ),
    (
        "russian.csv",
        "text,label\nздравствуйте,a\n".encode("cp1251"),
        "russian.csv is not UTF-8 (line 2 is), and what it is cannot be told.",
    ),
    (
        "long.csv",
        b"text,label\n" + b"x" * 1_000_001 + b",a\n",
        "long.csv, row 2: a cell longer than 1,000,000 characters.",
    ),
    ("zip.csv", b"PK\x03\x04rest", "zip.csv is an Excel workbook or ZIP archive, whatever its name says."),
    ("data.docx", b"PK", "data.docx is a Word document."),
    ("old.xls", b"\xd0\xcf", "old.xls is an old Excel workbook."),
    ("data.yaml", b"a: 1", "data.yaml has no known format."),
    ("data.csv.gz", b"\x1f\x8b", "data.csv.gz is compressed."),
    ("bad.parquet", b"PAR1nothing", "bad.parquet cannot be read as Parquet"),
    ("bad.xlsx", b"nothing", "bad.xlsx cannot be read as an Excel workbook: File is not a zip file."),
    ("empty.jsonl", b"\n \n", "empty.jsonl is empty."),
    (
        "lines.jsonl",
        b'nope\n{"a": 1}\n[1]\n',
        "lines.jsonl: 2 of 3 rows cannot be read, the first is row 1: it is not JSON: Expecting value at character 1.",
    ),
    ("number.json", b"12", "number.json holds a number, no list of objects."),
    ("none.json", b"[]", "none.json holds no rows."),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD, ids=[name for name, _, _ in BAD])
def test_what_cannot_be_read_is_said_in_one_message_with_a_fix(write, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_table(write(name, content))
    assert caught.value.message.startswith(message)
    assert caught.value.fix


def test_bytes_that_a_named_encoding_does_not_know_are_named_with_their_line(write) -> None:
    with pytest.raises(ConfigError, match=r"data\.csv, line 3: byte 0xe9 is not utf-8\."):
        read_table(write("data.csv", b"text,label\na,b\ncaf\xe9,c\n"), encoding="utf-8")


def test_an_unknown_encoding_is_refused_with_the_nearest_one(write) -> None:
    with pytest.raises(ConfigError, match=r"Unknown encoding 'utf88'\. Did you mean 'utf-8'\?"):
        read_table(write("data.csv", "text,label\na,b\n"), encoding="utf88")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(200_000_000)  # sparse: takes no space
    with pytest.raises(ConfigError) as caught:
        read_table(path)
    assert caught.value.message == "large.csv has 200 MB; more than 100 MB are not read unasked."
    assert "--max-mb 201" in caught.value.fix


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "tickets.csv").write_text("text,label\na,b\n")
    path = tmp_path / "thing.csv"
    if kind == "folder":
        path.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(ConfigError):
        read_table(path)


def test_a_misspelt_file_name_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_text("text,label\na,b\n")
    with pytest.raises(ConfigError, match=r"Did you mean 'tickets\.csv'\?"):
        read_table(tmp_path / "ticket.csv")


def test_rows_that_cannot_be_read_are_kept_with_their_numbers_and_reasons(write) -> None:
    text = 'text,label\na,b\n\nonly one\n"x" y,c\n,,\nd,e,,\nf,g\nh,i\n'
    table = read_table(write("data.csv", text))
    assert [(row.number, tuple(row.cells.values())) for row in table.rows] == [
        (2, ("a", "b")),
        (7, ("d", "e")),
        (8, ("f", "g")),
        (9, ("h", "i")),
    ]
    assert [(row.number, row.reason) for row in table.dropped] == [
        (4, "has 1 cell, the header has 2"),
        (5, 'has text after a closing quote; write quotes inside a cell twice ("")'),
    ]
    assert table.dropped[1].cells == ('"x" y,c',)
    assert {finding.code: finding.rows for finding in table.findings} == {
        "blank-rows": (6,),
        "cells-beyond-header": (7,),
        "ragged-row": (4,),
        "stray-quote": (5,),
    }


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_out_among_the_others(delimiter: str) -> None:
    text = f"text{delimiter}label\none, two; three{delimiter}a\nfour | five{delimiter}b\n".replace(
        "one, two; three", '"one, two; three"'
    ).replace("four | five", '"four | five"')
    assert read_delimited(text, "data.csv").rows[1].cells == {"text": "four | five", "label": "b"}


def test_a_spreadsheets_sep_line_names_the_delimiter_and_counts_as_a_row() -> None:
    (row,) = read_delimited("sep=;\ntext;label\na,b;c\n", "data.csv").rows
    assert (row.number, row.cells) == (3, {"text": "a,b", "label": "c"})


def test_quotes_in_a_tab_separated_file_may_be_ordinary_characters() -> None:
    table = read_delimited('text\tlabel\n"Great" film\tpos\n"unclosed\tneg\n', "data.tsv", delimiter="\t")
    assert [row.cells["text"] for row in table.rows] == ['"Great" film', '"unclosed']
    assert [finding.code for finding in table.findings] == ["quotes"]


def test_a_column_without_a_name_gets_one() -> None:
    table = read_delimited(",text\n0,a\n1,b\n", "data.csv")
    assert table.columns == ("column 1", "text")
    assert table.findings[0].text == "1 column without a name, called 'column 1'."


def test_json_values_become_text_and_bad_lines_are_kept() -> None:
    text = '{"n": 3.0, "b": true, "l": ["x"], "o": {"k": null}, "e": null}\n{"n": 2.5}\n'
    text += '{"s": "\\ud800"}\n{"z": 1}\nno\n{}\n'
    table = read_json(text, "data.jsonl", as_lines=True)
    assert table.rows[0].cells == {"n": "3", "b": "true", "l": '["x"]', "o": '{"k": null}', "e": "", "z": ""}
    assert table.rows[1].cells["n"] == "2.5"
    assert [(row.number, row.reason) for row in table.dropped] == [
        (3, "holds half a character (a lone surrogate)"),
        (5, "is not JSON: Expecting value at character 1"),
    ]


def test_class_numbers_written_by_datasets_become_names(tmp_path: Path) -> None:
    features = {
        "label": {"names": ["neg", "pos"], "_type": "ClassLabel"},
        "text": {"dtype": "string", "_type": "Value"},
    }
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(pa.Table.from_pylist([{"text": "a", "label": 1}], schema), tmp_path / "d.parquet")
    assert read_table(tmp_path / "d.parquet").rows[0].cells == {"text": "a", "label": "pos"}


def test_formulas_count_with_their_saved_value_and_never_without(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "d.xlsx", ("S", [["text", "label"], ["a", "x"], ["b", "=A2"], ["c", "#N/A"], ["d", "y"]])
    )
    table = read_table(path)  # openpyxl writes formulas without values, as many tools do
    assert [row.number for row in table.rows] == [2, 5]
    assert [(row.number, row.reason) for row in table.dropped] == [
        (3, "has a formula in 'label' without a saved value"),
        (4, "has the error #N/A in 'label'"),
    ]
    assert [finding.code for finding in table.findings] == ["formula-without-value", "error-value"]


def test_a_saved_value_of_a_formula_is_used_and_said(tmp_path: Path) -> None:
    import zipfile

    source = workbook(tmp_path / "s.xlsx", ("S", [["text", "label"], ["a", "x"], ["b", "=B2"]]))
    target = tmp_path / "d.xlsx"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet1.xml"):
                before = content
                content = content.replace(b"<f>B2</f><v />", b"<f>B2</f><v>x</v>").replace(
                    b"<f>B2</f><v></v>", b"<f>B2</f><v>x</v>"
                )
                content = content.replace(b'<c r="B3">', b'<c r="B3" t="str">')
                assert content != before
            new.writestr(name, content)
    table = read_table(target)
    assert table.rows[1].cells == {"text": "b", "label": "x"}
    assert table.findings[0].text == "1 row with formulas: the values that were saved with them are used."


def test_one_sheet_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "d.xlsx", ("Empty", []), ("One", [["t", "l"], ["a", 1]]), ("Two", [["t", "l"], ["b", 2]])
    )
    assert read_table(path).rows[0].cells == {"t": "a", "l": "1"}
    assert read_table(path).findings[0].text == "Sheet 'One' is read; there are also 'Two'."
    assert read_table(path, sheet="Two").rows[0].cells["t"] == "b"
    with pytest.raises(ConfigError, match=r"has no sheet 'Too'\. Did you mean 'Two'\?"):
        read_table(path, sheet="Too")


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=12)


@given(st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_what_the_csv_module_writes_is_read_back_or_counted(rows: list[list[str]], delimiter: str) -> None:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([["text", "label"], *rows])
    try:
        table = read_delimited(text.getvalue(), "data.csv", delimiter=delimiter)
    except ConfigError:
        assert not any(cell.strip() for row in rows for cell in row)
        return
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    assert [list(row.cells.values()) for row in table.rows] == filled
    assert not table.dropped


@given(st.binary(max_size=300), st.sampled_from(["d.csv", "d.tsv", "d.jsonl", "d.json", "d.parquet", "d.xlsx"]))
def test_no_bytes_end_in_anything_but_rows_or_a_message(tmp_path_factory, content: bytes, name: str) -> None:
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content)
    try:
        table = read_table(path)
    except ConfigError:
        return
    assert table.n_read == len(table.rows) + len(table.dropped) > 0
