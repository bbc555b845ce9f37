"""What ``mipro-walk init`` shows: the first rows, what was found, which rows are left out, how the rest is divided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mipro_walk.cli.visible import one_line
from mipro_walk.counting import counted
from mipro_walk.walkthrough.ui import Check, CheckStatus, Ui

if TYPE_CHECKING:
    from mipro_walk.project.answers import Rules
    from mipro_walk.project.guessing import Guess
    from mipro_walk.project.rows import Dropped, Finding, Table
    from mipro_walk.project.splitting import Splits

PREVIEW_ROWS, PREVIEW_COLUMNS, CELL_CHARS = 5, 6, 40
SHOWN_DROPPED = 5
WORDS: dict[str, CheckStatus] = {"note": "OK", "warning": "WARN", "error": "FAIL"}


def show_preview(ui: Ui, table: Table) -> None:
    """Show the first rows."""
    columns = table.columns[:PREVIEW_COLUMNS]
    more = f", the first {PREVIEW_COLUMNS} of them below" if len(table.columns) > PREVIEW_COLUMNS else ""
    ui.heading(table.name, counted(table.n_read, "row"))
    ui.say(f"{table.origin}; {counted(len(table.columns), 'column')}{more}.")
    rows = [
        [str(row.number), *(one_line(row.cells[name], ui.encoding, CELL_CHARS) for name in columns)]
        for row in table.rows[:PREVIEW_ROWS]
    ]
    ui.table(["row", *(one_line(name, ui.encoding, CELL_CHARS) for name in columns)], rows)


def show_guess(ui: Ui, guess: Guess, rules: Rules) -> None:
    """Show what the table seems to be, and why."""
    ui.say("")
    pairs = [("text", ", ".join(guess.columns)), ("answer", guess.target), ("kind", guess.kind)]
    if guess.kind == "multi_label":
        pairs.append(("separator", repr(rules.separator)))
    if guess.kind == "rating":
        pairs.append(("scale", f"{rules.low} to {rules.high}"))
    if rules.split_column:
        pairs.append(("split column", rules.split_column))
    ui.fields([*pairs, ("sure", guess.confidence)])
    for reason in guess.reasons:
        ui.say(f"  {reason}")


def show_findings(ui: Ui, findings: Sequence[Finding], dropped: Sequence[Dropped], n_read: int, n_used: int) -> None:
    """Show what was found, and the first rows that are left out."""
    ui.say("")
    ui.say(f"{counted(n_read, 'row')} read, {n_used:,} used, {len(dropped):,} left out.")
    if findings:
        ui.checks(finding_checks(findings))
    if dropped:
        ui.say("")
        ui.say("Left out:")
        ui.table(
            ("row", "reason"),
            [(str(row.number), one_line(row.reason, ui.encoding, 100)) for row in dropped[:SHOWN_DROPPED]],
        )
        if len(dropped) > SHOWN_DROPPED:
            ui.say(f"… and {len(dropped) - SHOWN_DROPPED:,} more; dropped_rows.csv in the project lists all.")


def finding_checks(findings: Sequence[Finding]) -> list[Check]:
    """Return findings as lines of a check list, the worst first."""
    order = list(reversed(WORDS))
    ranked = sorted(findings, key=lambda finding: order.index(finding.level))
    return [Check(found.action, WORDS[found.level], found.text, found.fix) for found in ranked]


def show_split(ui: Ui, splits: Splits, rules: Rules, rng_seed: int, test_size: int) -> None:
    """Show how the rows are divided and what that means."""
    from mipro_walk.project.explaining import explain_split, split_table

    ui.say("")
    for sentence in explain_split(splits, rules, rng_seed, test_size):
        ui.say(sentence)
    columns, rows = split_table(splits)
    ui.table(columns, [[one_line(row[0], ui.encoding, CELL_CHARS), *row[1:]] for row in rows])
