// The progression of a search as an SVG of few elements: 1,000 trials are four paths.

import { score, shown } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 260;
const MARGIN = { top: 12, right: 14, bottom: 34, left: 46 };
const MAX_INTERVALS = 200; // more of them are a grey wall
const NORMAL_95 = 1.96;

/** Draw the trials into `container`, as wide as it is. */
export function drawProgression(container, trials, { planned, baseline }) {
  const width = Math.max(280, container.clientWidth);
  const scored = trials.filter((trial) => trial.value !== null);
  const frame = frameOf(width, trials, scored, planned, baseline);
  const svg = make("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img" });
  svg.setAttribute("aria-label", shown(described(trials, scored, baseline)));
  drawAxes(svg, frame, width);
  if (Number.isFinite(baseline?.score)) {
    const y = frame.y(baseline.score);
    svg.append(make("path", { class: "line-baseline", d: `M${frame.left} ${y}H${frame.right}` }));
  }
  if (scored.length <= MAX_INTERVALS) svg.append(make("path", { class: "line-interval", d: intervals(scored, frame) }));
  svg.append(make("path", { class: "dots-startup", d: dots(scored.filter((t) => t.isStartup), frame) }));
  svg.append(make("path", { class: "dots-trial", d: dots(scored.filter((t) => !t.isStartup), frame) }));
  svg.append(make("path", { class: "line-leader", d: leaderLine(trials, frame) }));
  container.replaceChildren(svg);
}

/** Fill the legend once; the marks are those of the chart. */
export function drawLegend(list) {
  const entries = [
    ["dots-startup", "M12 8h0", "start-up trial"],
    ["dots-trial", "M12 8h0", "trial: pooled estimate, 95 % interval"],
    ["line-leader", "M1 8h20", "estimate of the leader"],
    ["line-baseline", "M1 8h20", "baseline"],
  ];
  list.replaceChildren(
    ...entries.map(([name, d, text]) => {
      const svg = make("svg", { viewBox: "0 0 22 16", "aria-hidden": "true" });
      svg.append(make("path", { class: name, d }));
      const item = document.createElement("li");
      item.append(svg, text);
      return item;
    }),
  );
}

function frameOf(width, trials, scored, planned, baseline) {
  const values = scored.flatMap((t) => [t.value - (t.sd ?? 0), t.value + (t.sd ?? 0)]);
  values.push(...trials.map((t) => t.leader).filter(Number.isFinite));
  if (Number.isFinite(baseline?.score)) values.push(baseline.score);
  const [low, high] = bounds(values);
  const [left, right] = [MARGIN.left, width - MARGIN.right];
  const [top, bottom] = [MARGIN.top, HEIGHT - MARGIN.bottom];
  const last = Math.max(planned || 1, trials.length, 1);
  const inset = Math.min(12, (right - left) / (2 * last));
  return {
    left, right, top, bottom, low, high, last,
    x: (number) => round(left + inset + (last === 1 ? 0.5 : (number - 1) / (last - 1)) * (right - left - 2 * inset)),
    y: (value) => round(bottom - ((Math.min(high, Math.max(low, value)) - low) / (high - low)) * (bottom - top)),
  };
}

function bounds(values) {
  if (!values.length) return [0, 1];
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  low = Math.max(0, Math.floor(low * 10 - 0.5) / 10);
  high = Math.min(1, Math.ceil(high * 10 + 0.5) / 10);
  return high - low < 0.2 ? [Math.max(0, high - 0.2), Math.max(0.2, high)] : [low, high];
}

function drawAxes(svg, frame, width) {
  const ticks = frame.high - frame.low > 0.5 ? 0.2 : 0.1;
  for (let value = frame.low; value <= frame.high + 1e-9; value += ticks) {
    const y = frame.y(value);
    svg.append(make("path", { class: "grid", d: `M${frame.left} ${y}H${frame.right}` }));
    svg.append(text(value.toFixed(1), { x: frame.left - 8, y: y + 4, "text-anchor": "end" }));
  }
  for (const number of ticksOf(frame.last, width < 500 ? 5 : 10)) {
    svg.append(text(number, { x: frame.x(number), y: frame.bottom + 18, "text-anchor": "middle" }));
  }
  svg.append(text("trial", { x: frame.right, y: HEIGHT - 2, "text-anchor": "end" }));
  svg.append(make("path", { class: "axis", d: `M${frame.left} ${frame.bottom}H${frame.right}` }));
}

function ticksOf(last, most) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((s) => last / s <= most) ?? Math.ceil(last / most);
  const found = step === 1 ? [] : [1];
  for (let number = step; number <= last; number += step) found.push(number);
  return found;
}

// A dot is a line of no length with round ends, so that any number of them is one element.
const dots = (trials, frame) => trials.map((t) => `M${frame.x(t.number + 1)} ${frame.y(t.value)}h0`).join("");

function intervals(trials, frame) {
  const known = trials.filter((t) => Number.isFinite(t.sd));
  return known.map((t) => {
    const half = NORMAL_95 * t.sd;
    return `M${frame.x(t.number + 1)} ${frame.y(t.value - half)}V${frame.y(t.value + half)}`;
  }).join("");
}

function leaderLine(trials, frame) {
  const points = trials.filter((t) => Number.isFinite(t.leader));
  if (!points.length) return "";
  const [first, ...others] = points;
  return `M${frame.x(first.number + 1)} ${frame.y(first.leader)}` +
    others.map((t) => `H${frame.x(t.number + 1)}V${frame.y(t.leader)}`).join("");
}

function described(trials, scored, baseline) {
  if (!trials.length) return "No trial has ended yet.";
  const best = trials.at(-1).leader;
  const start = Number.isFinite(baseline?.score) ? ` The baseline has ${score(baseline.score)}.` : "";
  return `${trials.length} trials, ${scored.length} of them scored. The leader's estimate is ${score(best)} on val.${start}`;
}

const round = (value) => Math.round(value * 10) / 10;

function text(content, attributes) {
  const element = make("text", attributes);
  element.textContent = shown(content);
  return element;
}

function make(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
