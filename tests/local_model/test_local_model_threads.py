"""How many threads: measured at start, measured again when the model became slow."""

from pathlib import Path
from typing import Any

import pytest

from mipro_walk.local_model import engine
from mipro_walk.local_model.engine import LlamaEngine, Speed

MODEL = Path("model.gguf")


class ScriptedServer:
    """Stands in for llama.cpp: every answer takes ``ms_per_token``."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.ms_per_token = 10.0

    def handle_chat_completions(self, _request: dict[str, Any]) -> dict[str, Any]:
        return {"timings": {"predicted_n": 8, "predicted_ms": 8 * self.ms_per_token}, "usage": {}}


class Machine:
    """Says how long a probe takes with each number of threads; None: it did not end in time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float | None]) -> None:
        self.seconds = seconds
        self.probed: list[int] = []
        monkeypatch.setattr(engine, "_load", lambda _path, threads: ScriptedServer(threads))
        monkeypatch.setattr(engine, "_load_and_probe", self._here)
        monkeypatch.setattr(engine, "_probe_elsewhere", self._elsewhere)
        monkeypatch.setattr(engine, "_more_thread_counts", lambda: sorted(set(seconds) - {1}))

    def _elsewhere(self, _path: Path, threads: int, _timeout: float) -> Speed | None:
        self.probed.append(threads)
        seconds = self.seconds[threads]
        return None if seconds is None else Speed(seconds, 100.0)

    def _here(self, path: Path, threads: int) -> tuple[Any, Speed]:
        speed = self._elsewhere(path, threads, 0.0)
        assert speed is not None
        return ScriptedServer(threads), speed


@pytest.mark.parametrize(
    ("seconds", "chosen", "probed"),
    [
        ({1: 1.0}, 1, [1]),
        ({1: 1.0, 2: 0.6}, 2, [1, 2]),
        ({1: 1.0, 2: 3.0, 3: 0.1}, 1, [1, 2]),
        ({1: 1.0, 2: None}, 1, [1, 2]),
        ({1: 1.0, 2: 0.6, 3: 0.5, 4: 0.7}, 3, [1, 2, 3, 4]),
    ],
    ids=["one core", "two help", "two hurt", "two hang", "three of four"],
)
def test_the_fastest_number_of_threads_is_chosen(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float | None], chosen: int, probed: list[int]
) -> None:
    machine = Machine(monkeypatch, seconds)
    assert (LlamaEngine(MODEL).threads, machine.probed) == (chosen, probed)


def test_a_given_number_of_threads_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, {1: 1.0, 2: 3.0})
    assert (LlamaEngine(MODEL, threads=2).threads, machine.probed) == (2, [2])


def test_lasting_slowness_is_measured_again_but_a_single_slow_answer_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, {1: 1.0, 2: 0.6})
    model = LlamaEngine(MODEL)
    monkeypatch.setattr(engine, "_RECALIBRATION_PAUSE_SECONDS", -1.0)
    machine.seconds[2] = None
    for ms_per_token, threads in [(90.0, 2), (10.0, 2), (90.0, 2), (90.0, 2), (90.0, 1)]:
        model._server.ms_per_token = ms_per_token
        model.complete({})
        assert model.threads == threads


def test_the_speed_shown_follows_the_answers_and_timings_stay_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, {1: 1.0})
    model = LlamaEngine(MODEL)
    model._server.ms_per_token = 20.0
    answer = model.complete({})
    assert answer == {"usage": {}, "model": "model.gguf"}
    assert 50.0 < model.tokens_per_second < 100.0
