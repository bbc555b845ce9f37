"""Why? What helped, which labels moved, which are confused, which rows changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mipro_walk.counting import counted
from mipro_walk.report.charts.outcome import (
    MAX_PAIRS,
    NO_ANSWER,
    ablation,
    confusion,
    hard_pairs,
    importance,
    label_changes,
    shown_labels,
)
from mipro_walk.report.text import MAX_NAME, MAX_QUERY, shortened
from mipro_walk.results.words import judge_in_words, points

Document = Mapping[str, Any]
MAX_ROWS = 500
"""Rows shown of each kind; explanations.json holds them all."""
MAX_LISTED = 1_000


def why(document: Document) -> dict[str, Any]:
    """Return what is shown of an ``explanations.json``."""
    tried = document.get("ablation")
    labels = document.get("labels") or []
    pairs = hard_pairs(document.get("confusions") or {})
    return {
        "ablation": _ablation(tried) if tried and tried["n"] and tried["prompts"] else None,
        "ablation_note": _ablation_note(tried),
        "importance": importance(document.get("importance") or {}),
        "importance_note": _importance_note(document.get("importance")),
        "judge_note": judge_in_words(document["judge"]) if document.get("judge") else "",
        "label_chart": label_changes(labels),
        "label_caption": _label_caption(labels),
        "label_columns": _columns(("label",), ("rows", "baseline right", "winner right", "change"), ("verdict",)),
        "labels": [_label(label) for label in labels[:MAX_LISTED]],
        "pair_chart": confusion(pairs),
        "pair_caption": _pair_caption(pairs),
        "pair_columns": _columns(("expected", "answered"), ("baseline", "winner"), ()),
        "pairs": [(shortened(e, MAX_NAME), shortened(a, MAX_NAME), b, w) for e, a, b, w in pairs[:MAX_LISTED]],
    }


def changed_rows(document: Document) -> dict[str, Any]:
    """Return the test rows that only one of the two prompts got right."""
    test = document.get("test")
    fixed, broken = document.get("fixed") or [], document.get("broken") or []
    groups = [
        _group("Fixed by the winner", fixed, tone="is-good", before="tail-bad", after="tail-good"),
        _group("Broken by the winner", broken, tone="is-bad", before="tail-good", after="tail-bad"),
    ]
    return {
        "sentence": _rows_sentence(test, len(fixed), len(broken)),
        "groups": [group for group in groups if group["rows"]],
    }


def _ablation(document: Document) -> dict[str, Any]:
    left_out = f"; {document['excluded']} left out because an answer is unknown" if document.get("excluded") else ""
    return {
        "chart": ablation(document),
        "caption": f"All four on the same {counted(document['n'], 'test row')}{left_out}. The thin lines are "
        "the 95 % intervals of the difference to the baseline, drawn from the baseline's score (dashed): one that "
        "crosses it is noise.",
        "title": f"The four prompts on {counted(document['n'], 'test row')}; differences to the baseline in points",
        "columns": _columns(("prompt",), ("score", "n", "difference", "95 % interval"), ("verdict",)),
        "rows": [
            (
                prompt["prompt"],
                f"{prompt['score']:.2f}",
                prompt["n"],
                *(
                    ("", "", "")
                    if prompt["prompt"] == "baseline"
                    else (
                        points(prompt["difference"]),
                        f"{points(prompt['low'])} to {points(prompt['high'])}",
                        prompt["verdict"],
                    )
                ),
            )
            for prompt in document["prompts"]
        ],
    }


def _ablation_note(document: Document | None) -> str:
    if document is None:
        return "Instruction and demonstrations were not tried apart: the settings leave it out."
    if document.get("skipped"):
        return f"Instruction and demonstrations were not tried apart: {document['skipped']}."
    if not document["n"]:
        return "Instruction and demonstrations were tried apart, but no row has four known answers."
    return ""


def _importance_note(document: Document | None) -> str:
    if not document:
        return ""
    if document.get("instruction") is None:
        return f"How much each axis mattered in the search is not known: {document.get('reason') or 'no reason given'}."
    return (
        f"In the search: how much of what sets the better half of {document['candidates']} candidates apart on val "
        f"rows lies in either axis ({document['method']}, less what shuffled scores give)."
    )


def _label_caption(labels: Sequence[Document]) -> str:
    moved = sum(1 for label in labels if label["change"])
    shown = len(shown_labels(labels))
    some = "" if shown == moved else f", the {shown} that moved most are drawn"
    return f"{moved} of {counted(len(labels), 'label')} moved{some}. So few rows of a label often change by themselves."


def _label(label: Document) -> tuple[Any, ...]:
    name, verdict = shortened(label["label"], MAX_NAME), label["verdict"]
    change = f"{label['change']:+d}" if label["change"] else "0"
    said = "within noise" if verdict == "no significant gain" else verdict
    return name, label["n"], label["baseline_right"], label["winner_right"], change, said


def _pair_caption(pairs: Sequence[Any]) -> str:
    shown = min(len(pairs), MAX_PAIRS)
    return f"The {shown} most frequent of {len(pairs)} confused pairs, as: expected → answered."


def _rows_sentence(test: Document | None, fixed: int, broken: int) -> str:
    if test is None:
        return "There was no final test, so no row was answered by both prompts."
    text = (
        f"Of {counted(test['n'], 'test row')} that both prompts answered, the winner fixed {fixed} and broke {broken}."
    )
    if test.get("unknown"):
        text += f" {counted(test['unknown'], 'further row')} left out because an answer is unknown."
    return text


def _group(title: str, rows: Sequence[Document], **looks: str) -> dict[str, Any]:
    shown = rows[:MAX_ROWS]
    left_out = len(rows) - len(shown)
    return {
        **looks,
        "title": title,
        "count": len(rows),
        "note": f"The first {MAX_ROWS} are shown; explanations.json holds the other {left_out:,}." if left_out else "",
        "rows": [_row(row) for row in shown],
    }


def _row(row: Document) -> dict[str, Any]:
    answers = {who: NO_ANSWER if row[who] is None else shortened(row[who], MAX_NAME) for who in ("baseline", "winner")}
    query, label = shortened(row["query"], MAX_QUERY), shortened(row["label"], MAX_NAME)
    return {"seed": row["seed"], "query": query, "label": label, **answers}


def _columns(first: Sequence[str], numbers: Sequence[str], last: Sequence[str]) -> list[dict[str, str]]:
    kinds = ((first, ""), (numbers, "number"), (last, ""))
    return [{"name": name, "kind": kind} for names, kind in kinds for name in names]
