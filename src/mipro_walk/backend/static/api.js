// Talking to the backend. The session's token goes into the Authorization header and nowhere else.

const STORED_AS = "mipro-walk-session";
const JOBS = "/api/prompt-learning/online/jobs";
const SESSIONS = "/api/page/sessions";
const SILENCE_MS = 30_000; // the backend says something at least every ten seconds

/** The session has ended, or there never was one. */
export class SignedOut extends Error {}

/** The backend answered, but not with what was asked for. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const isSignedIn = () => sessionStorage.getItem(STORED_AS) !== null;
export const forget = () => sessionStorage.removeItem(STORED_AS);
export const jobPath = (id, rest = "") => `${JOBS}/${encodeURIComponent(id)}${rest}`;

/** Exchange {code} or {key} for a session. Throws Refused. */
export async function signIn(credential) {
  const response = await send("POST", SESSIONS, {}, credential);
  if (!response.ok) throw await refusal(response);
  sessionStorage.setItem(STORED_AS, (await response.json()).token);
}

/** End the session here and at the backend. */
export async function signOut() {
  const headers = authorization();
  forget();
  await send("DELETE", SESSIONS, headers).catch(() => {});
}

/** Return the JSON of an answer. Throws SignedOut, Refused, or what fetch throws when nobody answers. */
export async function ask(path, method = "GET") {
  return (await answer(path, method)).json();
}

export const askText = async (path) => (await answer(path)).text();
export const listJobs = async () => (await ask(JOBS)).jobs;

/** Yield a job's events after `since` as they come; ends when the job has. `onOpen` hears that the stream stands. */
export async function* stream(id, since, signal, onOpen) {
  const own = new AbortController();
  const abort = () => own.abort();
  signal.addEventListener("abort", abort);
  let watch;
  const heard = () => {
    clearTimeout(watch);
    watch = setTimeout(abort, SILENCE_MS);
  };
  try {
    heard();
    const response = await answer(jobPath(id, `/events/stream?since_seq=${since}`), "GET", own.signal);
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      const data = blocks.flatMap((block) => block.split("\n").filter((line) => line.startsWith("data: ")));
      if (data.length) yield data.map((line) => JSON.parse(line.slice(6)));
    }
  } finally {
    clearTimeout(watch);
    signal.removeEventListener("abort", abort);
    own.abort();
  }
}

async function answer(path, method = "GET", signal = undefined) {
  const response = await send(method, path, authorization(), undefined, signal);
  if (response.status === 401) {
    forget();
    throw new SignedOut();
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

function send(method, path, headers, body, signal) {
  const options = { method, headers: { ...headers }, signal, cache: "no-store", credentials: "omit", redirect: "error" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  return fetch(path, options);
}

function authorization() {
  const token = sessionStorage.getItem(STORED_AS);
  if (token === null) throw new SignedOut();
  return { Authorization: `Bearer ${token}` };
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const error = body?.detail?.error;
  const text = [error?.message, error?.fix].filter(Boolean).join(" ");
  return new Refused(response.status, text || `The backend answered ${response.status}.`);
}
