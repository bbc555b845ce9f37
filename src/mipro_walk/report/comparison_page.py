"""``compare.html``: a comparison document as one page with the look of every other one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mipro_walk.counting import counted
from mipro_walk.report.charts.comparison import convergence, pair_differences, scores, swatch_of
from mipro_walk.report.diff import word_diff
from mipro_walk.report.page import asset, environment, policy
from mipro_walk.report.text import MAX_QUERY, MAX_TEXT, dollars, duration, plain, shortened

Document = Mapping[str, Any]
Rows = list[list[str]]
NOTHING = "–"
TITLES = {
    "verdict": "Verdict",
    "methods": "Side by side",
    "convergence": "Convergence",
    "prompts": "Prompts",
    "details": "Details",
}
SCORE_COLUMNS = (
    ("name", ""),
    ("runs", "number"),
    ("score on test, %", "number"),
    ("over the baseline, points", "number"),
    ("verdict", ""),
    ("for each point gained", ""),
)
COST_COLUMNS = (
    ("name", ""),
    ("rollouts", "number"),
    ("proposals", "number"),
    ("choice settled after", "number"),
    ("calls made", "number"),
    ("cost", "number"),
)
COST_NOTE = (
    "Rollouts and proposals are those that one run asked for before the final test, recorded or not. Calls made are "
    "those that all its runs sent to a model, test and meta-model included; they depend on who ran first, since "
    "answers that another run had paid are not asked again. The price of a point is that of the search alone, as if "
    "nothing had been recorded, and stands only where a gain is proven."
)
PROMPT_COLUMNS = (
    ("name", ""),
    ("characters", "number"),
    ("tokens, about", "number"),
    ("demonstrations", "number"),
    ("words of the instruction", "number"),
    ("words per sentence", "number"),
    ("LIX", "number"),
)
RUN_COLUMNS = (
    ("name", ""),
    ("rng seed", "number"),
    ("score on test, %", "number"),
    ("over the baseline, points", "number"),
    ("rollouts", "number"),
    ("calls made", "number"),
    ("time", "number"),
)


def render_comparison(document: Document) -> str:
    """Return ``compare.html`` of a comparison document. Equal documents give equal bytes.

    Raises:
        MiproWalkError: a chart cannot be drawn.
    """
    found = plain(document)
    style = asset("style.css")
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            contents=list(TITLES.items()),
            style=style,
            policy=policy(style),
            title=f"Comparison on {shortened(found['task'], MAX_QUERY)}",
            headline=_headline(found),
            verdict=_verdict(found),
            methods=_methods(found),
            convergence=_convergence(found),
            prompts=_prompts(found),
            details=_details(found),
        )
    )


def _headline(document: Document) -> str:
    seeds = f", {len(document['rng_seeds'])} rng seeds" if document["rng_seeds"] else ""
    budget = f"budget {document['budget']} rollouts" if document["budget"] is not None else "different budgets"
    names = " · ".join(shortened(entry["title"], 80) for entry in document["entries"])
    return f"{names}; {budget}{seeds}"


# ---- sections


def _verdict(document: Document) -> dict[str, Any]:
    sentences = [pair["words"] for pair in document["pairs"]]
    if document["unpaired"]:
        lead = f"Not paired: {document['unpaired']}."
        sentences = ["Each stands with its own interval; which of the two is better is not decided here."]
    elif sentences:
        lead, *sentences = sentences
    else:
        lead = "Nothing to hold against each other: fewer than two methods have a run."
    return {
        "lead": lead,
        "sentences": sentences,
        "chart": pair_differences(document),
        "scores": scores(document),
        "caption": _pair_caption(document),
        "warnings": [shortened(text, MAX_QUERY) for text in document["warnings"]],
    }


def _pair_caption(document: Document) -> str:
    many = len(document["rng_seeds"]) > 1
    covers = "the choice of test rows and the luck of the rng seeds" if many else "the choice of test rows"
    text = f"Differences row by row on the same test rows; the bars are 95 % intervals that cover {covers}. "
    text += "A bar that holds 0 shows no difference."
    if len(document["pairs"]) > 2:
        count = len(document["pairs"])
        misses = f"about {0.05 * count:.1f} miss the truth by chance"
        text += f" Of {count} such intervals {misses}: nothing is corrected for that."
    return text


def _methods(document: Document) -> dict[str, Any]:
    entries = document["entries"]
    return {
        "columns": _columns(SCORE_COLUMNS),
        "rows": [_score_row(entry) for entry in entries],
        "caption": _score_caption(document),
        "cost_columns": _columns(COST_COLUMNS),
        "costs": [_cost_row(entry) for entry in entries if entry["runs"]],
        "note": COST_NOTE,
        "run_columns": _columns(RUN_COLUMNS),
        "runs": _run_rows(document) if document["mode"] == "methods" else [],
        "missing": [
            f"{entry['title']}: {len(entry['missing'])} of {len(entry['missing']) + len(entry['runs'])} runs left out"
            for entry in entries
            if entry["missing"]
        ],
    }


def _score_caption(document: Document) -> str:
    first = next((entry["score"] for entry in document["entries"] if entry["score"]), None)
    if first is None or document["unpaired"]:
        return "Scores on test, each on its own rows"
    return f"Scores on the same {counted(first['n'], 'test row')}"


def _score_row(entry: Document) -> list[str]:
    if not entry["runs"]:
        return [entry["title"], "0", *[NOTHING] * (len(SCORE_COLUMNS) - 2)]
    return [
        entry["title"],
        str(len(entry["runs"])),
        interval_in_words(entry["score"]),
        interval_in_words(entry["gain"], "+"),
        entry["gain"]["verdict"] if entry["gain"] else NOTHING,
        _per_point(entry),
    ]


def _cost_row(entry: Document) -> list[str]:
    return [
        entry["title"],
        _count(entry["rollouts"]),
        _count(entry["proposals"]),
        _range((entry["curve"] or {}).get("settled") or []),
        _count(entry["calls_made"]),
        dollars(entry["cost_usd"]["made"]),
    ]


def _per_point(entry: Document) -> str:
    if entry["gain"] is None:
        return NOTHING
    found = entry["per_point"]
    if found is None:
        return "no proven gain"
    usd = f", {dollars(found['usd'])}" if found["usd"] else ""
    return f"{found['rollouts']:.1f} rollouts{usd}"


def _run_rows(document: Document) -> Rows:
    return [
        [
            entry["title"],
            str(run["rng_seed"]),
            interval_in_words(run["score"]),
            interval_in_words(run["gain"], "+"),
            _count(run["rollouts"]),
            _count(sum(part["calls"] for part in run["made"].values())),
            duration(run["seconds"]),
        ]
        for entry in document["entries"]
        for run in entry["runs"]
    ]


def _convergence(document: Document) -> dict[str, Any]:
    half = document["curves"]["half_way"]
    drawn = [entry for entry in document["entries"] if (entry.get("curve") or {}).get("points")]
    return {
        "chart": convergence(document),
        "legend": [(*swatch_of(document, entry["name"]), entry["title"]) for entry in drawn],
        "caption": (
            f"{document['curves']['ruler']} Bands reach from the lowest to the highest run. What counts is the score "
            "of the final test, above: these rows were seen by the search."
        ),
        "half": None
        if half is None
        else f"Half of the way from the lowest start to the highest end ({half:.2f}) was reached after: "
        + "; ".join(
            f"{entry['title']} {entry['half_way_after']} rollouts"
            if entry["half_way_after"] is not None
            else f"{entry['title']} never"
            for entry in drawn
        )
        + ".",
    }


def _prompts(document: Document) -> dict[str, Any]:
    entries = [entry for entry in document["entries"] if entry["runs"]]
    return {
        "columns": _columns(PROMPT_COLUMNS),
        "rows": [_figures("the baseline", document["baseline"]["figures"])]
        + [_figures(entry["title"], entry["prompt"]) for entry in entries if entry["name"] != "baseline"],
        "baseline": _prompt(document["baseline"]),
        "found": [
            {
                "name": _run_name(entry, run),
                "prompt": _prompt(run["prompt"]),
                "diff": _diff(document["baseline"], run["prompt"]),
            }
            for entry in entries
            for run in entry["runs"]
            if entry["name"] != "baseline"
        ],
        "between": _between(document, entries),
    }


def _between(document: Document, entries: Sequence[Document]) -> list[dict[str, Any]]:
    """Return the differences between the first entry's prompts and each other one's, run by run."""
    others = [entry for entry in entries if entry["name"] != "baseline"]
    if len(others) < 2:
        return []
    first = others[0]
    is_seeded = document["mode"] == "methods"
    return [
        {
            "name": f"{_run_name(first, ours)} → {_run_name(other, theirs)}",
            "diff": _diff(ours["prompt"], theirs["prompt"]),
            "demonstrations": _demonstrations(ours["prompt"], theirs["prompt"]),
        }
        for other in others[1:]
        for ours in first["runs"]
        for theirs in other["runs"]
        if not is_seeded or ours["rng_seed"] == theirs["rng_seed"]
    ]


def _run_name(entry: Document, run: Document) -> str:
    return f"{entry['title']}, rng seed {run['rng_seed']}" if len(entry["runs"]) > 1 else str(entry["title"])


def _diff(before: Document, after: Document) -> list[tuple[str, str]]:
    old, new = (shortened(prompt["instruction"], MAX_TEXT) for prompt in (before, after))
    return [(str(kind), text) for kind, text in word_diff(old, new)]


def _demonstrations(before: Document, after: Document) -> str:
    """Return in words how many demonstrations two prompts share."""
    ours, theirs = ([(d["query"], d["label"]) for d in prompt["demonstrations"]] for prompt in (before, after))
    if ours == theirs:
        return f"The same {counted(len(ours), 'demonstration')}." if ours else "Neither shows demonstrations."
    return f"Demonstrations: {len(ours)} and {len(theirs)}, {len(set(ours) & set(theirs))} of them in both."


def _prompt(prompt: Document) -> dict[str, Any]:
    return {
        "instruction": shortened(prompt["instruction"], MAX_TEXT),
        "demonstrations": [
            [shortened(demo["query"], MAX_QUERY), shortened(demo["label"], MAX_QUERY)]
            for demo in prompt["demonstrations"]
        ],
    }


def _figures(name: str, figures: Document) -> list[str]:
    return [
        name,
        f"{figures['characters']:,.0f}",
        f"{figures['tokens']:,.0f}",
        f"{figures['demonstrations']:g}",
        f"{figures['words']:g}",
        f"{figures['words_per_sentence']:.1f}",
        f"{figures['lix']:.0f}",
    ]


def _details(document: Document) -> list[tuple[str, str]]:
    rows = ", ".join(f"{count} {split}" for split, count in document["data"]["rows"].items())
    facts = [
        ("Task", document["task"]),
        ("Rows", rows or "unknown"),
        ("Source", str(document["data"]["source"] or "unknown")),
        ("Budget", "different" if document["budget"] is None else f"{document['budget']} rollouts for each run"),
    ]
    if document["rng_seeds"]:
        facts.append(("Rng seeds", ", ".join(map(str, document["rng_seeds"]))))
    facts += [
        (f"{role.capitalize()} model", ", ".join(f"{key} {value}" for key, value in model.items()))
        for role, model in document["models"].items()
    ]
    facts += [(entry["title"], entry["summary"]) for entry in document["entries"]]
    if document["job_id"]:
        facts.append(("Recorded as", document["job_id"]))
    return [(shortened(name, 120), shortened(value, MAX_QUERY)) for name, value in facts]


# ---- cells


def _columns(columns: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "kind": kind} for name, kind in columns]


def interval_in_words(found: Document | None, sign: str = "", nothing: str = NOTHING) -> str:
    """Return a value in percent with its interval, such as ``+5.0 (1.2 to 8.8)``."""
    if found is None:
        return nothing
    value, low, high = (100 * found[name] for name in ("value", "low", "high"))
    if sign and value == low == high == 0:
        return "0 (same scores)"
    return f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"


def _count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def _range(values: Sequence[float]) -> str:
    if not values:
        return NOTHING
    mean = f"{sum(values) / len(values):.0f}"
    return mean if min(values) == max(values) else f"{mean} ({min(values):.0f} to {max(values):.0f})"
