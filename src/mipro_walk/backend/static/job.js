// One job: its figures every two seconds, its events as they come, and the buttons.

import { Refused, SignedOut, ask, askText, jobPath, stream } from "./api.js";
import {
  VERDICTS, age, byId, confirmed, count, dollars, duration, make, score, setBadge, setOptional, setText, totalCost,
} from "./dom.js";
import { pause } from "./jobs.js";
import { HISTORY, JobState, LOG_LINES } from "./state.js";

const STATUS_MS = 2_000;
const DRAW_MS = 400;
const CHART_MS = 2_500;
const MAX_EVENTS = 10_000;
const MAX_WAIT_MS = 15_000;
const ENDED = ["succeeded", "completed", "failed", "cancelled", "canceled"];
const STEPS = {
  mipro: ["Bootstrap", "Search", "Final test", "Ablation"],
  gepa: ["Starting instruction on val", "Reflective evolution", "Final test"],
};
const ACTIONS = {
  pause: { title: "Pause the job?", text: "Calls in flight end first. Nothing that was paid for is lost.", yes: "Pause" },
  resume: { title: "Resume the job?", text: "Recorded calls answer at once and cost nothing.", yes: "Resume" },
  cancel: {
    title: "Cancel the job for good?", text: "What it found so far is kept, but it cannot go on.", yes: "Cancel the job",
    danger: true,
  },
};

/** Show a job until `signal` aborts. `connection` hears lost(ms, error), standing() and ended(). */
export async function showJob(id, signal, connection) {
  const view = new JobView(id, signal);
  const streaming = new AbortController();
  signal.addEventListener("abort", () => streaming.abort());
  let signedOut = null;
  const polling = view.poll().catch((error) => {
    signedOut = error; // the stream was let in while the session stood
    streaming.abort();
  });
  let wait = 1_000;
  while (!signal.aborted) {
    try {
      await view.load();
      for await (const events of stream(id, view.state.lastSeq, streaming.signal, () => connection.standing())) {
        wait = 1_000;
        view.take(events);
      }
      await view.refresh();
      if (view.isEnded) {
        connection.ended();
        await view.resumed();
      }
    } catch (error) {
      if (signal.aborted) break;
      if (signedOut) throw signedOut;
      if (error instanceof SignedOut || (error instanceof Refused && error.status === 404)) throw error;
      connection.lost(wait, error);
      await pause(wait, signal);
      wait = Math.min(2 * wait, MAX_WAIT_MS);
    }
  }
  await polling;
}

class JobView {
  constructor(id, signal) {
    this.id = id;
    this.signal = signal;
    this.state = new JobState();
    this.status = null;
    this.isLoaded = false;
    this.isDrawing = false;
    this.isDrawn = false;
    this.isFetching = false;
    this.charted = "";
    this.logged = 0;
    this.#clear();
  }

  get isEnded() {
    return ENDED.includes(this.status?.status);
  }

  /** Fetch figures and history once. The newest events come first: what happens meanwhile comes by the stream. */
  async load() {
    if (this.isLoaded) return;
    const newest = (await ask(jobPath(this.id, `/events?newest=true&limit=${LOG_LINES}`))).events;
    const path = `/events?limit=${MAX_EVENTS}&types=${HISTORY.join(",")}`;
    const last = newest.at(-1)?.seq ?? 0;
    const history = (await ask(jobPath(this.id, path))).events.filter((event) => event.seq <= last);
    this.state.restore(history, newest);
    this.isLoaded = true;
    await this.refresh();
    this.#draw();
  }

  take(events) {
    for (const event of events) this.state.take(event);
    this.#draw();
  }

  /** Fetch the figures. A job that stops no longer reports some: the last ones known stay. */
  async refresh() {
    const status = await ask(jobPath(this.id));
    if (this.signal.aborted) return;
    const before = this.status?.progress;
    if (before?.rollouts_planned && !status.progress.rollouts_planned) {
      status.progress = { ...before, ...status.progress, eta_seconds: null };
    }
    this.status = status;
    this.#drawHead();
  }

  /** Keep the figures fresh. Throws SignedOut; of other trouble the stream tells. */
  async poll() {
    while (!this.signal.aborted) {
      await pause(STATUS_MS, this.signal);
      if (this.signal.aborted || this.isEnded || !this.isLoaded) continue;
      try {
        await this.refresh();
      } catch (error) {
        if (error instanceof SignedOut) throw error;
      }
    }
  }

  /** Resolve when an ended job was resumed, or nobody looks any more. */
  resumed() {
    return new Promise((resolve) => {
      this.onResumed = resolve;
      this.signal.addEventListener("abort", resolve);
    });
  }

  async #act(action) {
    if (!(await confirmed(ACTIONS[action]))) return;
    setText(byId("job-answer"), `Asked to ${action} …`);
    try {
      await ask(jobPath(this.id, `/${action}`), "POST");
      setText(byId("job-answer"), action === "resume" ? "Resumed." : `Asked to ${action}; calls in flight end first.`);
      await this.refresh();
      if (action === "resume") this.onResumed?.();
    } catch (error) {
      setText(byId("job-answer"), `The backend did not ${action} it: ${error.message}`);
    }
  }

  async #openReport() {
    setText(byId("job-answer"), "Making the report …");
    try {
      const html = await askText(jobPath(this.id, "/report"));
      const url = URL.createObjectURL(new Blob([html], { type: "text/html" }));
      make("a", { href: url, target: "_blank", rel: "noopener" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      setText(byId("job-answer"), "");
    } catch (error) {
      setText(byId("job-answer"), `There is no report: ${error.message}`);
    }
  }

  #clear() {
    for (const name of ["log", "leaders", "warnings-rows", "chart", "job-stats", "job-steps"]) byId(name).replaceChildren();
    for (const name of ["job-error", "job-verdict", "job-verdict-note", "warnings", "leaders-wrap", "job-spend"]) {
      byId(name).hidden = true;
    }
    for (const name of ["job-status", "job-about", "job-answer", "log-note", "chart-caption"]) setText(byId(name), "");
    setText(byId("job-title"), `Job ${this.id}`);
    for (const action of Object.keys(ACTIONS)) {
      byId(`job-${action}`).hidden = true;
      byId(`job-${action}`).onclick = () => this.#act(action);
    }
    byId("job-report").hidden = true;
    byId("job-report").onclick = () => this.#openReport();
  }

  // ---- drawing

  #draw() {
    if (this.isDrawing || !this.isLoaded) return;
    this.isDrawing = true;
    setTimeout(() => {
      this.isDrawing = false;
      if (this.signal.aborted) return;
      this.#drawSteps();
      this.#drawChart();
      this.#drawLeaders();
      this.#drawWarnings();
      this.#drawLog();
    }, this.isDrawn ? DRAW_MS : 0);
    this.isDrawn = true;
  }

  #drawHead() {
    const { status, id } = this;
    const progress = status.progress ?? {};
    document.title = `${status.status} · ${id} · mipro-walk`;
    setBadge(byId("job-status"), status.status);
    setText(byId("job-about"), `${status.algorithm} · submitted ${age(status.created_at)}`);
    setOptional(byId("job-error-text"), status.error);
    setOptional(byId("job-error-fix"), status.fix);
    byId("job-error").hidden = !status.error;
    byId("job-error").className = `callout ${status.status === "failed" ? "is-bad" : "is-warn"}`;
    drawVerdict(status);
    drawFigures(status, progress);
    const isOurs = !status.launch?.in_process;
    byId("job-pause").hidden = !isOurs || !["queued", "running"].includes(status.status);
    byId("job-resume").hidden = !isOurs || !["paused", "failed"].includes(status.status);
    byId("job-cancel").hidden = !isOurs || !["queued", "running", "paused"].includes(status.status);
    byId("job-report").hidden = !status.has_results;
    if (!isOurs && !this.isEnded) setText(byId("job-answer"), "Another process runs this job: press Ctrl-C there.");
    this.#drawSteps();
  }

  #drawSteps() {
    const names = [...(STEPS[this.status?.algorithm] ?? STEPS.mipro)];
    for (const { number, name } of this.state.phases) names[number - 1] = name;
    const reached = Math.max(0, ...this.state.phases.map((phase) => phase.number));
    const isDone = ["succeeded", "completed"].includes(this.status?.status);
    const list = byId("job-steps");
    const wanted = JSON.stringify([names, reached, isDone]);
    if (list.dataset.shown === wanted && list.children.length) return;
    list.dataset.shown = wanted;
    list.replaceChildren(...names.map((name, index) => {
      const isPast = index + 1 < reached || (isDone && index < reached);
      const isNow = index + 1 === reached && !isDone;
      const words = isPast ? "done" : isNow ? "now" : isDone ? "left out" : "to come";
      const item = make("li", { class: isPast ? "is-done" : isNow ? "is-current" : "" }, `${name} `);
      if (isNow) item.setAttribute("aria-current", "step");
      item.append(make("span", { class: "small" }, `(${words})`));
      return item;
    }));
  }

  #drawChart() {
    const { trials, baseline, finalists } = this.state;
    const wanted = `${trials.length} ${finalists.size} ${baseline !== null}`;
    if (this.charted !== wanted) this.#fetchChart(wanted);
    byId("chart-figure").hidden = trials.length === 0;
    byId("chart-empty").hidden = trials.length > 0;
    const last = trials.at(-1);
    const start = Number.isFinite(baseline?.score) ? ` The baseline has ${score(baseline.score)} (n=${baseline.n}).` : "";
    const rows = last?.bestRows ? ` on ${last.bestRows} val rows` : "";
    setText(byId("chart-caption"), last ? `${count(trials.length)} trials; the leader has ${score(last.best)}${rows}.${start}` : "");
    byId("chart").firstElementChild?.setAttribute("aria-label", `Score progression: ${byId("chart-caption").textContent}`);
  }

  /** Fetch the chart now or, if one was just fetched, in a while: the backend draws it beside the job it runs. */
  async #fetchChart(wanted) {
    if (this.isFetching) return;
    this.isFetching = true;
    try {
      const { svg, trials } = await ask(jobPath(this.id, "/chart"));
      if (this.signal.aborted) return;
      const drawn = new DOMParser().parseFromString(svg ?? "", "text/html").querySelector("svg"); // nothing runs there
      const chart = byId("chart");
      chart.replaceChildren(...(drawn ? [document.importNode(drawn, true)] : []));
      if (this.charted === "") chart.scrollLeft = chart.scrollWidth; // a phone shows the newest trials first
      if (trials >= this.state.trials.length) this.charted = wanted;
    } catch (error) {
      if (!(error instanceof Refused)) return; // the stream tells of trouble
      setText(byId("chart"), `There is no chart: ${error.message}`);
      this.charted = wanted;
    } finally {
      await pause(CHART_MS, this.signal);
      this.isFetching = false;
      this.#draw();
    }
  }

  #drawLeaders() {
    const leaders = this.state.leaders();
    byId("leaders-empty").hidden = leaders.length > 0;
    byId("leaders-wrap").hidden = leaders.length === 0;
    const list = byId("leaders");
    const wanted = JSON.stringify([leaders, [...this.state.finalists], this.state.instructions.size]);
    if (list.dataset.shown === wanted && list.children.length) return;
    list.dataset.shown = wanted;
    const open = new Set([...list.querySelectorAll("details[open]")].map((details) => details.dataset.key));
    list.replaceChildren(...leaders.map((leader, index) => this.#leaderRow(leader, index + 1, open)));
  }

  #leaderRow(leader, rank, open) {
    const sets = this.state.demoSets[leader.demoSet];
    const instruction = this.state.instructions.get(leader.instruction);
    const badge = this.state.finalists.has(leader.key) ? make("span", { class: "badge is-info" }, "finalist") : "";
    const interval = Number.isFinite(leader.sd) ? ` ± ${(1.96 * leader.sd).toFixed(2)}` : "";
    return make("tr", {},
      make("td", {}, `${rank} `, badge),
      make("td", { class: "number" }, `${score(leader.value)}${interval}`),
      make("td", { class: "number" }, count(leader.rows)),
      make("td", {}, sets ? `set ${leader.demoSet}: ${sets.builder} (${sets.seeds.length})` : leader.key),
      make("td", { class: "wide" }, this.#instructionOf(leader, instruction, open)));
  }

  #instructionOf(leader, instruction, open) {
    if (leader.instruction === 0) return "0: the baseline's";
    if (!instruction) return String(leader.instruction ?? "");
    const details = make("details", { "data-key": leader.key },
      make("summary", {}, `${leader.instruction}: ${instruction.source}`),
      make("pre", { class: "text" }, instruction.instruction_text));
    details.open = open.has(leader.key);
    return details;
  }

  #drawWarnings() {
    const { warnings } = this.state;
    byId("warnings").hidden = warnings.length === 0;
    const list = byId("warnings-rows");
    const wanted = String(warnings.at(-1)?.seq);
    if (list.dataset.shown === wanted && list.children.length) return;
    list.dataset.shown = wanted;
    const kinds = { error: ["error", "is-bad"], warning: ["warning", "is-warn"], info: ["note", ""] };
    list.replaceChildren(...[...warnings].reverse().map(({ level, message, at }) => {
      const [word, kind] = kinds[level] ?? kinds.info;
      const head = make("p", {}, make("span", { class: `badge ${kind}` }, word), ` ${clock(at)}`);
      return make("li", { class: "row" }, head, make("p", {}, message));
    }));
  }

  #drawLog() {
    const log = byId("log");
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const fresh = this.state.log.filter((event) => event.seq > this.logged);
    if (!fresh.length) return;
    this.logged = fresh.at(-1).seq;
    log.append(...fresh.map(({ created_at: at, level, message }) => {
      const word = level === "info" ? "" : `${level.toUpperCase()} `;
      return make("div", { class: `line is-${level}` }, make("time", { datetime: at }, clock(at)), ` ${word}${message}`);
    }));
    while (log.children.length > LOG_LINES) log.firstChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
    const isWhole = log.firstChild && this.state.lastSeq <= LOG_LINES;
    setText(byId("log-note"), isWhole ? "" : `The last ${LOG_LINES} lines of ${count(this.state.lastSeq)} events.`);
  }
}

function drawVerdict({ test }) {
  const verdict = byId("job-verdict");
  const [words, kind] = VERDICTS[test?.verdict] ?? [test?.verdict, "is-neutral"];
  setOptional(verdict, test ? `${words}: ${score(test.baseline)} → ${score(test.winner)}` : "");
  byId("job-head").className = `card ${test ? kind : ""}`;
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
  setOptional(byId("job-verdict-note"), test && `Baseline against winner on ${test.n} unseen rows of split test: ` +
    `${signed(test.difference)}, 95 % interval ${signed(test.low)} to ${signed(test.high)}. ` +
    (test.verdict === "better" ? "The winner is recommended." : "The baseline is recommended."));
}

function drawFigures(status, progress) {
  const { rollouts_done: done = 0, rollouts_planned: planned = 0 } = progress;
  const bar = byId("job-progress");
  bar.max = planned || 1;
  bar.value = ENDED.includes(status.status) && status.has_results ? bar.max : done;
  const left = Number.isFinite(progress.eta_seconds) && status.status === "running";
  const rest = left ? `, about ${duration(progress.eta_seconds)} left` : "";
  setText(byId("job-progress-text"), planned ? `${count(done)} of at most ${count(planned)} rollouts${rest}` : "Not started yet");
  const usage = Object.values(progress.usage ?? {});
  const sum = (name) => usage.reduce((total, part) => total + (part[name] ?? 0), 0);
  const cost = totalCost(progress.usage);
  const cap = status.limits?.max_cost_usd;
  const isGepa = status.algorithm === "gepa"; // how many steps a budget pays is not known beforehand
  const trial = isGepa ? count(progress.iteration) : progress.num_iterations ? `${count(progress.iteration)}/${count(progress.num_iterations)}` : "–";
  const best = Number.isFinite(progress.best_score);
  stats([
    [isGepa ? "Step" : "Trial", trial, ""],
    ["Best on val", best ? score(progress.best_score) : "–", best ? `n=${count(progress.best_n)}` : ""],
    ["Spent", dollars(cost), Number.isFinite(cap) ? `cap ${dollars(cap)}` : "no cap"],
    ["Tokens", count(sum("prompt_tokens") + sum("completion_tokens")), `${count(sum("calls"))} calls`],
    ["Failed rollouts", count(progress.unknown), "left out of scores"],
    ["Time", duration(progress.elapsed_seconds), progress.recorded_reused ? `${count(progress.recorded_reused)} reused` : ""],
  ]);
  byId("job-spend").hidden = !(Number.isFinite(cap) && cap > 0 && Number.isFinite(cost));
  if (!byId("job-spend").hidden) {
    byId("job-spend-meter").value = Math.min(1, cost / cap);
    setText(byId("job-spend-text"), `${dollars(cost)} of at most ${dollars(cap)}`);
  }
}

function stats(entries) {
  const list = byId("job-stats");
  if (list.children.length !== entries.length) {
    list.replaceChildren(...entries.map(() => make("div", { class: "stat" },
      make("dt", { class: "stat-name" }), make("dd", { class: "stat-value" }), make("dd", { class: "stat-note" }))));
  }
  entries.forEach((texts, index) => texts.forEach((text, part) => setText(list.children[index].children[part], text)));
}

const clock = (iso) => new Date(iso).toLocaleTimeString("en-GB");
