"""What a person sees while methods are compared: a moving line for the run at hand, a lasting one for each that ended.

A terminal that cannot move gets a line every five seconds instead. All of it goes to standard error.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeVar

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mipro_walk.cli.console import is_ascii_only
from mipro_walk.cli.heartbeat import HEARTBEAT_SECONDS
from mipro_walk.cli.live_panel import bar
from mipro_walk.cli.progress_words import duration
from mipro_walk.cli.visible import foreign, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mipro_walk.comparison.runs import MissingRun, Run
    from mipro_walk.types import Event, Outcome

POLL_SECONDS = 0.2
BAR_WIDTH = 20
Result = TypeVar("Result")


@dataclass
class CompareWatch:
    """Counts what the run at hand does and draws it. ``titles`` names the methods for people.

    The thread that runs the comparison tells what happens, the main thread draws.
    """

    console: Console
    titles: Mapping[str, str]
    is_moving: bool
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _name: str = ""
    _number: int = 0
    _total: int = 0
    _planned: int = 0
    _done: int = 0
    _made: int = 0
    _unknown: int = 0
    _phase: str = ""
    _since: float = 0.0
    _last_line: float = field(default_factory=time.monotonic)
    _live: Live | None = None

    def __enter__(self) -> Self:
        if self.is_moving:
            self._live = Live(
                console=self.console,
                transient=True,
                get_renderable=self.line,
                refresh_per_second=4,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.stop()

    # ---- heard from the comparison

    def notice(self, text: str) -> None:
        """Show what a person should know before the first call."""
        self._print(foreign(text, self.console))

    def started(self, name: str, number: int, total: int, planned: int) -> None:
        """Begin to count another run."""
        with self._lock:
            self._name, self._number, self._total, self._planned = name, number, total, planned
            self._done = self._made = self._unknown = 0
            self._phase, self._since = "", time.monotonic()
        if not self.is_moving:
            self._print(Text(f"{self._head()} ..."))

    def event(self, event: Event) -> None:
        """Take the phase of the run from its events."""
        if event.type == "mipro.phase":
            self._phase = str(event.data.get("name", ""))

    def outcome(self, outcome: Outcome, made: bool) -> None:
        """Count a rollout that ended."""
        with self._lock:
            self._done += 1
            self._made += made
            self._unknown += not outcome.is_known

    def ended(self, run: Run, recorded: bool) -> None:
        """Leave a line that says what the run found and took."""
        from mipro_walk.comparison.intervals import known_mean

        known = [score for score in run.scores if score is not None]
        calls = sum(part.calls for part in run.made.values())
        text = f"{100 * known_mean(known):.1f} % on {len(known)} test rows; {run.rollouts} rollouts before the test, "
        text += "recorded earlier" if recorded else f"{calls} calls made, {duration(run.seconds)}"
        self._print(Text(f"{self._title(run.name)}: {text}"))

    def failed(self, missing: MissingRun) -> None:
        """Leave a line that says why a run failed."""
        line = Text(f"{self._title(f'{missing.method}:{missing.rng_seed}')} failed and is left out: ", style="yellow")
        self._print(line.append_text(foreign(missing.reason, self.console)))

    # ---- drawn by the main thread

    def tick(self) -> None:
        """Be alive: without a moving line say every five seconds how far the run is."""
        if not self.is_moving and self._name and time.monotonic() - self._last_line >= HEARTBEAT_SECONDS:
            self._print(self.line())

    def say(self, text: str) -> None:
        """Say something of the watcher itself."""
        self._print(Text(text, style="yellow"))

    def line(self) -> Text:
        """Return how far the run at hand is."""
        with self._lock:
            if not self._name:
                return Text("Preparing ...")
            progress = {"rollouts_done": self._done, "rollouts_planned": self._planned}
            reused = f", {self._done - self._made} reused" if self._done > self._made else ""
            unknown = f", {self._unknown} unknown" if self._unknown else ""
            phase = f" {visible(self._phase)}," if self._phase else ""
            counts = f"{phase} {self._done}/{self._planned} rollouts{reused}{unknown}"
            seconds = duration(time.monotonic() - self._since)
        drawn = bar(progress, BAR_WIDTH, is_ascii_only(self.console))
        return Text(f"{self._head()} {drawn}{counts}, {seconds}", no_wrap=True, overflow="crop")

    def _head(self) -> str:
        return f"[{self._number}/{self._total}] {self._title(self._name)}:"

    def _title(self, name: str) -> str:
        method, _, rng_seed = name.partition(":")
        return f"{self.titles.get(method, method)}, rng seed {rng_seed}"

    def _print(self, line: Text) -> None:
        self._last_line = time.monotonic()
        self.console.print(line, highlight=False, soft_wrap=not self.console.is_terminal)


def watch_to_the_end(work: Callable[[], Result], watch: CompareWatch, pause: threading.Event) -> Result:
    """Do ``work`` in a thread of its own while the watch is drawn, and return its result.

    The first Ctrl-C sets ``pause``, which ends the work after the calls in flight; a second one does not wait.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="comparison") as pool, watch:
        future = pool.submit(work)
        try:
            while not future.done():
                watch.tick()
                _wait(future)
        except KeyboardInterrupt:
            pause.set()
            watch.say("Stopping after the calls in flight. The same command goes on; nothing is paid twice.")
            future.exception()
            raise
        return future.result()


def _wait(future: Future[Result]) -> None:
    from concurrent.futures import wait

    wait([future], timeout=POLL_SECONDS)
