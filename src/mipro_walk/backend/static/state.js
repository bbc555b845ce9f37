// What the events of a job add up to. Events come once, in order.

export const LOG_LINES = 300;
const MAX_WARNINGS = 50;
const SHOWN_LEADERS = 8;

/** Types that the whole history of is needed; of all others the last few hundred do. */
export const HISTORY = [
  "mipro.job.started", "mipro.data.checked", "mipro.phase", "mipro.trial.complete", "mipro.instruction.proposed",
  "mipro.bootstrap.demos", "mipro.generation", "mipro.baseline.val", "mipro.topk.scored", "mipro.verdict",
  "mipro.notice", "mipro.job.paused", "mipro.job.failed", "prompt.learning.trial.results",
  "gepa.transformation.proposed", "gepa.rows.left_out",
];

const QUIET = new Set([
  "mipro.iteration.start", "mipro.iteration.complete", "mipro.new_incumbent", "mipro.budget.update",
  "prompt.learning.best.prompt", "prompt.learning.top.prompt.content", "prompt.learning.final.results",
  "prompt.learning.mipro.complete", "prompt.learning.gepa.complete", "prompt.learning.progress",
  "prompt.learning.validation.summary", "prompt.learning.completed",
]);

export class JobState {
  constructor() {
    this.lastSeq = 0;
    this.trials = [];
    this.instructions = new Map();
    this.demoSets = [];
    this.baseline = null;
    this.finalists = new Set();
    this.phases = [];
    this.warnings = [];
    this.log = [];
  }

  /** Take the history up to `lastSeq`, then the lines of the log. */
  restore(history, newest) {
    for (const event of history) this.#learn(event);
    for (const event of newest) {
      this.#note(event);
      if (!HISTORY.includes(event.type)) this.#warn(event);
    }
    this.lastSeq = newest.at(-1)?.seq ?? 0;
    this.warnings.sort((a, b) => a.seq - b.seq);
  }

  take(event) {
    if (event.seq <= this.lastSeq) return;
    this.lastSeq = event.seq;
    this.#learn(event);
    this.#note(event);
    if (!HISTORY.includes(event.type)) this.#warn(event);
  }

  /** Return the best candidates, each with its last pooled estimate and all rows it has answered. */
  leaders() {
    const found = new Map();
    for (const trial of this.trials) {
      const before = found.get(trial.key);
      found.set(trial.key, { ...trial, rows: (before?.rows ?? 0) + trial.n });
    }
    const ranked = [...found.values()].filter((leader) => leader.value !== null);
    return ranked.sort((a, b) => b.value - a.value).slice(0, SHOWN_LEADERS);
  }

  #learn(event) {
    const data = event.data ?? {};
    const learners = {
      "mipro.phase": () => this.phases.push({ number: data.phase, name: data.name }),
      "mipro.trial.complete": () => this.trials.push(trialOf(data)),
      "prompt.learning.trial.results": () => this.trials.push(this.#geneticTrial(data)),
      "gepa.transformation.proposed": () => this.instructions.set(Number(data.transformation_id), {
        source: data.operator, instruction_text: data.transformation_text,
      }),
      "mipro.instruction.proposed": () => this.instructions.set(data.instruction_id, data),
      "mipro.bootstrap.demos": () => { this.demoSets = [...(data.demo_sets ?? [])]; },
      "mipro.generation": () => this.demoSets.push(...(data.demo_sets ?? [])),
      "mipro.baseline.val": () => { this.baseline = { score: figure(data.score), n: figure(data.num_seeds) ?? 0 }; },
      "mipro.topk.scored": () => this.finalists.add(`${data.instruction}/${data.demo_set}`),
    };
    learners[event.type]?.();
    if (HISTORY.includes(event.type)) this.#warn(event);
  }

  #geneticTrial(data) {
    const number = this.trials.length;
    const value = figure(data.mean);
    const [instruction, n] = [data.instruction, figure(data.completed) ?? 0];
    return { key: `instruction ${instruction ?? number}`, instruction, value, sd: null, n, best: figure(data.best_score) };
  }

  #note(event) {
    if (QUIET.has(event.type)) return;
    this.log.push(event);
    if (this.log.length > LOG_LINES) this.log.shift();
  }

  #warn(event) {
    const notes = event.type === "mipro.data.checked" ? event.data?.warnings ?? [] : [];
    const isOdd = event.level === "warning" || event.level === "error" || event.type === "mipro.notice";
    const found = isOdd ? [event.message] : notes;
    for (const message of found) {
      this.warnings.push({ seq: event.seq, level: isOdd ? event.level : "warning", message, at: event.created_at });
    }
    if (this.warnings.length > MAX_WARNINGS) this.warnings.splice(0, this.warnings.length - MAX_WARNINGS);
  }
}

/** A trial as the chart and the leaders need it. `value` is the pooled estimate, else the score of its rows. */
function trialOf(data) {
  return {
    key: `${data.instruction}/${data.demo_set}`,
    instruction: data.instruction,
    demoSet: data.demo_set,
    value: figure(data.estimate) ?? (data.status === "complete" ? figure(data.minibatch_score) : null),
    sd: figure(data.estimate_sd),
    n: figure(data.num_seeds) ?? 0,
    best: figure(data.best_score),
    bestRows: figure(data.best_n),
  };
}

const figure = (value) => (Number.isFinite(value) ? value : null);
