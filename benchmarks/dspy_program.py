"""DSPy's MIPROv2 on the rows of a benchmark; run by an interpreter that has DSPy, never imported by ours.

    PYTHON_WITH_DSPY benchmarks/dspy_program.py < task.json     # the report is the last line of the output, as JSON

``task.json``: ``train`` and ``val`` (lists of [query, label]), ``labels``, ``instruction``, ``mode`` (light, medium,
heavy), ``threads``, ``seed``; ``base_url`` of an endpoint, or ``null`` for the simulated model in this process. The
cache is on, as by default, in a folder of its own (set by the caller in ``DSPY_CACHEDIR``); in-process it is off.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import Counter
from contextlib import redirect_stdout
from typing import Any, Literal

import dspy
import optuna
from dspy import lm15
from dspy.teleprompt import mipro_optimizer_v2
from peer_endpoint import META_MODEL, POLICY_MODEL, Faults, Landscape, Model, sample_truth

SAMPLER_FIELDS = ("_n_startup_trials", "_n_ei_candidates", "_group", "_constant_liar", "_multivariate")


class Engine:
    """The simulated model without HTTP. Counts calls: ``calls`` by what they were for."""

    def __init__(self, name: str, model: Model, phase: Phase) -> None:
        self._name, self._model, self._phase = name, model, phase
        self._lock = threading.Lock()

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Answer one request."""
        messages = [{"role": m.role, "content": m.text or ""} for m in request.messages]
        system = request.system if isinstance(request.system, str) else "".join(p.text for p in request.system or ())
        body = {"model": self._name, "messages": [{"role": "system", "content": system}, *messages]}
        with self._lock:
            self._phase.count(self._name)
            text = self._model.decide(body)[2]["choices"][0]["message"]["content"]
        usage = lm15.Usage(input_tokens=0, output_tokens=0, total_tokens=0)
        answer = lm15.Message.assistant([lm15.TextPart(text)])
        return lm15.Response(id=None, model=self._name, message=answer, finish_reason="stop", usage=usage)


class Phase:
    """Which phase a call belongs to: rows before the first proposal are bootstrapping, after it evaluation."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def count(self, name: str) -> None:
        """Count one call of the model ``name``."""
        if name == META_MODEL:
            self.calls["meta"] += 1
        else:
            self.calls["evaluation" if self.calls["meta"] else "bootstrap"] += 1


class Recorder:
    """Writes down what MIPROv2 evaluates, samples and proposes, without changing any of it."""

    def __init__(self) -> None:
        self.evaluations: list[dict[str, Any]] = []
        self.sampler: dict[str, Any] = {}
        self._study: Any = None

    def __enter__(self) -> Recorder:
        self._evaluate = mipro_optimizer_v2.eval_candidate_program
        self._create_study = optuna.create_study
        mipro_optimizer_v2.eval_candidate_program = self._recorded_evaluation
        optuna.create_study = self._recorded_study
        return self

    def __exit__(self, *_exc: object) -> None:
        mipro_optimizer_v2.eval_candidate_program = self._evaluate
        optuna.create_study = self._create_study

    def _recorded_evaluation(self, batch_size: int, trainset: list[Any], program: Any, *rest: Any) -> Any:
        began = time.monotonic()
        result = self._evaluate(batch_size, trainset, program, *rest)
        predictor = program.predictors()[0]
        self.evaluations.append(
            {
                "rows": min(batch_size, len(trainset)),
                "full": batch_size >= len(trainset),
                "score": result.score,
                "errors": sum(not prediction.keys() for _, prediction, _ in result.results),
                "dropped": not result.results,
                "instruction": predictor.signature.instructions,
                "demos": len(predictor.demos),
                "seconds": round(time.monotonic() - began, 3),
            }
        )
        return result

    def _recorded_study(self, *args: Any, **kwargs: Any) -> Any:
        sampler = kwargs["sampler"]
        self.sampler = {"class": type(sampler).__name__}
        self.sampler |= {name.strip("_"): getattr(sampler, name, None) for name in SAMPLER_FIELDS}
        self._study = self._create_study(*args, **kwargs)
        return self._study

    def trials(self) -> list[dict[str, Any]]:
        """Return the study's trials in their order, which is that of ``evaluations``."""
        return [
            {
                "params": list(t.params.values()),
                "value": t.value,
                "sizes": [len(d.choices) for d in t.distributions.values()],
            }
            for t in self._study.trials
        ]


def models(task: dict[str, Any], phase: Phase) -> tuple[Any, Any]:
    """Return the policy and the meta-model."""
    if task["base_url"]:
        common = {"api_base": task["base_url"], "api_key": "sk-benchmark", "temperature": 0.0, "max_tokens": 400}
        return dspy.LM(f"openai/{POLICY_MODEL}", **common), dspy.LM(f"openai/{META_MODEL}", **common)
    model = Model(Landscape(task["landscape_seed"], sample_truth(), task["instruction"]), Faults())
    return tuple(
        dspy.LM(f"openai/{name}", engine=Engine(name, model, phase), cache=False, max_tokens=400, temperature=0.0)
        for name in (POLICY_MODEL, META_MODEL)
    )


def examples(rows: list[list[str]]) -> list[Any]:
    """Return rows as DSPy's examples."""
    return [dspy.Example(query=query, intent=label).with_inputs("query") for query, label in rows]


def exact_match(example: Any, prediction: Any, _trace: object = None) -> bool:
    """Whether the label is right."""
    return bool(example.intent == prediction.intent)


def optimize(task: dict[str, Any]) -> dict[str, Any]:
    """Run MIPROv2 once and return what it did."""
    phase = Phase()
    policy, meta = models(task, phase)
    dspy.configure(lm=policy)
    fields = {"query": (str, dspy.InputField()), "intent": (Literal[tuple(task["labels"])], dspy.OutputField())}
    program = dspy.Predict(dspy.Signature(fields, task["instruction"]))
    optimizer = dspy.MIPROv2(
        metric=exact_match,
        prompt_model=meta,
        task_model=policy,
        auto=task["mode"],
        num_threads=task["threads"],
        seed=task["seed"],
    )
    with Recorder() as recorder:
        began = time.monotonic()
        best = optimizer.compile(program, trainset=examples(task["train"]), valset=examples(task["val"]))
        seconds = time.monotonic() - began
    predictor = best.predictors()[0]
    return {
        "versions": {"dspy": dspy.__version__, "optuna": optuna.__version__},
        "seconds": round(seconds, 3),
        "instruction": predictor.signature.instructions,
        "demos": [demo.query for demo in predictor.demos],
        "score": best.score,
        "calls": dict(phase.calls),
        "evaluations": recorder.evaluations,
        "trials": recorder.trials(),
        "sampler": recorder.sampler,
    }


def main() -> None:
    """Read the task, optimize, print the report."""
    logging.disable(logging.WARNING)
    task = json.load(sys.stdin)
    with redirect_stdout(sys.stderr):
        report = optimize(task)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
