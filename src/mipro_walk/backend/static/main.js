// Who is signed in, which view is shown, and how the connection is.

import { Refused, SignedOut, isSignedIn, signIn, signOut } from "./api.js";
import { byId, duration, setOptional, setText } from "./dom.js";
import { showJob } from "./job.js";
import { showJobs } from "./jobs.js";

const VIEWS = ["sign-in", "jobs", "job"];
let current = new AbortController();

function fragment() {
  const parts = new URLSearchParams(location.hash.slice(1));
  return { code: parts.get("code"), job: parts.get("job") };
}

/** Take a code out of the address before anything else happens, so that no history keeps it. */
function takeCode() {
  const { code, job } = fragment();
  if (code !== null) history.replaceState(null, "", job ? `/#job=${encodeURIComponent(job)}` : "/");
  return code;
}

async function start() {
  byId("sign-in-form").addEventListener("submit", submitKey);
  byId("sign-out").addEventListener("click", leave);
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment is the view
    byId("main").focus();
  });
  addEventListener("hashchange", async () => {
    byId("main").focus(); // what had the focus is hidden now
    await arrive();
  });
  await arrive();
}

async function arrive() {
  const code = takeCode();
  let message = "";
  if (code !== null) message = await exchanged({ code });
  if (isSignedIn()) await route();
  else askForKey(message);
}

/** Return what went wrong, empty if a session was opened. */
async function exchanged(credential) {
  try {
    await signIn(credential);
    return "";
  } catch (error) {
    return error instanceof Refused ? error.message : "The backend does not answer.";
  }
}

async function submitKey(event) {
  event.preventDefault();
  const field = byId("key");
  const key = field.value.trim();
  field.value = "";
  const message = await exchanged({ key });
  if (message) askForKey(message);
  else await route();
}

async function leave() {
  await signOut();
  askForKey("");
}

function askForKey(message) {
  show("sign-in");
  connection(null);
  setOptional(byId("sign-in-message"), message);
  document.title = "Sign in · mipro-walk";
  byId("key").focus();
}

/** Show one view and stop what the one before was doing. */
function show(name) {
  current.abort();
  current = new AbortController();
  for (const view of VIEWS) byId(view).hidden = view !== name;
  byId("sign-out").hidden = name === "sign-in";
  return current.signal;
}

async function route() {
  const { job } = fragment();
  const signal = show(job ? "job" : "jobs");
  scrollTo(0, 0);
  setText(byId("connection-text"), "Connecting");
  try {
    if (job) await showJob(job, signal, jobConnection);
    else {
      document.title = "Jobs · mipro-walk";
      await showJobs(signal, (error) => {
        if (error instanceof SignedOut) throw error;
        connection(error ? "is-bad" : "is-good", error ? "Connection lost; trying again" : "Connected");
      });
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof SignedOut) askForKey("The session has ended. Sign in again.");
    else if (error instanceof Refused) notFound(error.message);
    else throw error;
  }
}

function notFound(message) {
  byId("job-error").hidden = false;
  setOptional(byId("job-error-text"), message);
  connection("is-warn", "Nothing to show");
}

const jobConnection = {
  standing: () => connection("is-good", "Live"),
  ended: () => connection("", "The job has ended"),
  lost: (ms) => connection("is-bad", `Connection lost; trying again in ${duration(ms / 1000)}`),
};

function connection(kind, text) {
  byId("connection").hidden = kind === null;
  if (kind === null) return;
  byId("connection-dot").className = `dot ${kind}`;
  setText(byId("connection-text"), text);
}

start();
