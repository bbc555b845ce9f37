// Elements, and how figures are written. All text from outside goes through `shown` into text nodes, never into HTML.

const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Return text with every control, bidirectional and zero-width character written out. */
export function shown(text) {
  return String(text ?? "").replace(INVISIBLE, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
}

export const byId = (id) => document.getElementById(id);

/** Make an element. `attributes` are set as such; children are elements or text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, shown(value));
  }
  element.append(...children.map((child) => (child instanceof Node ? child : shown(child))));
  return element;
}

/** Set the text of an element, touching the page only if it changed. */
export function setText(element, text) {
  const value = shown(text);
  if (element.textContent !== value) element.textContent = value;
}

/** Show text in an element, or hide it when there is none. */
export function setOptional(element, text) {
  setText(element, text ?? "");
  element.hidden = !text;
}

export function setBadge(element, status) {
  element.className = `badge ${BADGES[status] ?? ""}`;
  setText(element, status);
}

const BADGES = {
  succeeded: "is-good", completed: "is-good", running: "is-info", queued: "", paused: "is-warn",
  failed: "is-bad", cancelled: "is-neutral",
};

export const VERDICTS = {
  better: ["Better", "is-good"],
  worse: ["Worse", "is-bad"],
  "no significant gain": ["No significant gain", "is-neutral"],
};

export const score = (value) => (Number.isFinite(value) ? value.toFixed(3) : "unknown");
export const count = (value) => Number(value ?? 0).toLocaleString("en");

/** Dollars with enough digits to tell small sums apart; an unknown price is never zero. */
export function dollars(value) {
  if (!Number.isFinite(value)) return "unknown";
  if (value === 0) return "$0";
  return value < 0.01 ? `$${value.toPrecision(2)}` : `$${value.toFixed(value < 1 ? 3 : 2)}`;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds ?? 0));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

export function age(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 10) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

/** Return what all roles cost together; unknown as soon as one price is. */
export function totalCost(usage) {
  const costs = Object.values(usage ?? {}).map((part) => part.cost_usd);
  return costs.every(Number.isFinite) ? costs.reduce((sum, cost) => sum + cost, 0) : NaN;
}

/** Ask before something is done; resolves to whether it was agreed to. */
export function confirmed({ title, text, yes, danger }) {
  const dialog = byId("confirm");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), yes);
  byId("confirm-yes").className = danger ? "button-danger" : "button-primary";
  return new Promise((resolve) => {
    let agreed = false;
    byId("confirm-yes").onclick = () => { agreed = true; dialog.close(); };
    byId("confirm-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(agreed);
    dialog.showModal();
    byId("confirm-no").focus();
  });
}
