// The list of jobs, refreshed every few seconds while it is shown.

import { listJobs } from "./api.js";
import { VERDICTS, age, byId, count, dollars, make, score, setBadge, setText, totalCost } from "./dom.js";

const REFRESH_MS = 3_000;
const SHOWN = 200;
const LABELS = ["Status", "Algorithm", "Result", "Rollouts", "Cost", "Submitted"];

/** Show the list until `signal` aborts. `trouble` hears of each failed and each good refresh. */
export async function showJobs(signal, trouble) {
  const rows = new Map();
  byId("jobs-rows").replaceChildren();
  while (!signal.aborted) {
    try {
      const jobs = await listJobs();
      if (signal.aborted) return;
      trouble(null);
      refresh(jobs, rows);
    } catch (error) {
      if (signal.aborted) return;
      trouble(error);
    }
    await pause(REFRESH_MS, signal);
  }
}

/** Wait; longer while nobody looks. */
export async function pause(ms, signal) {
  await new Promise((resolve) => {
    const done = () => { clearTimeout(timer); signal.removeEventListener("abort", done); resolve(); };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
  if (document.hidden && !signal.aborted) {
    await new Promise((resolve) => {
      const done = () => {
        if (document.hidden && !signal.aborted) return;
        document.removeEventListener("visibilitychange", done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      document.addEventListener("visibilitychange", done);
      signal.addEventListener("abort", done);
    });
  }
}

function refresh(jobs, rows) {
  byId("jobs-empty").hidden = jobs.length > 0;
  byId("jobs-wrap").hidden = jobs.length === 0;
  const list = byId("jobs-rows");
  jobs.slice(0, SHOWN).forEach((job, index) => {
    const row = rows.get(job.job_id) ?? addRow(job, rows);
    if (list.children[index] !== row.element) list.insertBefore(row.element, list.children[index] ?? null);
    fill(row, job);
  });
}

function addRow(job, rows) {
  const link = make("a", { href: `#job=${encodeURIComponent(job.job_id)}`, class: "mono" }, job.job_id);
  const badge = make("span", { class: "badge" });
  const cells = LABELS.map((label, index) => {
    const name = index >= 3 ? "number" : null;
    return make("td", { role: "cell", "data-label": label, class: name });
  });
  cells[0].append(badge);
  const head = make("th", { scope: "row", role: "rowheader" }, link);
  const row = { element: make("tr", { role: "row" }, head, ...cells), badge, cells };
  rows.set(job.job_id, row);
  return row;
}

function fill({ badge, cells }, job) {
  const progress = job.progress ?? {};
  setBadge(badge, job.status);
  const planned = progress.rollouts_planned;
  setText(cells[1], job.algorithm);
  setText(cells[2], resultOf(job));
  setText(cells[3], planned ? `${count(progress.rollouts_done)}/${count(planned)}` : "–");
  setText(cells[4], dollars(totalCost(progress.usage)));
  setText(cells[5], age(job.created_at));
  cells[5].title = job.created_at;
}

function resultOf(job) {
  if (job.test) {
    const [words] = VERDICTS[job.test.verdict] ?? [job.test.verdict];
    return `${words}: ${score(job.test.baseline)} → ${score(job.test.winner)}, n=${job.test.n}`;
  }
  const { best_score: best, best_n: n } = job.progress ?? {};
  return Number.isFinite(best) ? `best so far ${score(best)} on val, n=${n}` : "–";
}
