// The page of a job or workflow that has not ended: goes on live from what the server has rendered.
//
// Log lines come by server-sent events and are added as text. Everything else is taken from the page itself, asked for
// anew: what a badge, a step or a document looks like is said once, in the templates.
"use strict";

(() => {
  const root = document.querySelector("[data-unit]");
  if (!root) return;

  const TRIES = 3; // without an answer, before the reader is told
  const RETRY_MS = 3000; // as the server says in its streams
  const FLUSH_MS = 50;
  const REFRESH_MS = 500; // what happens together asks for the page once
  const NEAR_END_PX = 24;

  const at = (name) => root.querySelector(`[data-${name}]`);
  const list = at("log");
  const linesMax = Number(root.dataset.linesMax);
  const steps = new Map(); // the name of a step by the id of its job

  let source = null;
  let lastId = root.dataset.lastId;
  let failures = 0;
  let isOver = false;
  let follows = true;
  let waiting = [];

  // --- The log -----------------------------------------------------------------------------------------

  function setFollows(does) {
    follows = does;
    at("jump").hidden = does;
  }

  function jump() {
    list.scrollTop = list.scrollHeight;
    setFollows(true);
  }

  function row({ kind, moment, step, text }) {
    const item = document.createElement("li");
    item.className = kind;
    const time = document.createElement("time");
    time.dateTime = moment;
    time.textContent = moment.slice(11, 19);
    const said = document.createElement("pre");
    if (step) {
      const name = document.createElement("b");
      name.textContent = step;
      said.append(name, " ");
    }
    said.append(text);
    item.append(time, said);
    return item;
  }

  function add(kind, text, data) {
    if (waiting.length === 0) setTimeout(flush, FLUSH_MS);
    waiting.push({ kind, text: String(text), moment: String(data.at), step: steps.get(data.job_id) });
    // A page in the background is rarely woken: what would be dropped at once is not kept till then.
    if (waiting.length > 2 * linesMax) waiting.splice(0, waiting.length - linesMax);
  }

  function flush() {
    list.append(...waiting.map(row));
    waiting = [];
    const excess = list.children.length - linesMax;
    for (let each = 0; each < excess; each += 1) list.firstElementChild.remove();
    const count = list.children.length;
    at("counted").textContent = `${count}${excess > 0 ? " latest" : ""} line${count === 1 ? "" : "s"}, the latest last`;
    if (follows) list.scrollTop = list.scrollHeight;
  }

  // --- What else the page shows ------------------------------------------------------------------------

  let refreshes = Promise.resolve();
  let isRefreshDue = false;

  function refreshSoon() {
    if (isRefreshDue) return;
    isRefreshDue = true;
    setTimeout(() => {
      isRefreshDue = false;
      if (!isOver) refresh(false);
    }, REFRESH_MS);
  }

  /** Bring the regions up to date, one answer after the other; whether that was possible. */
  function refresh(isAtEnd) {
    refreshes = refreshes.then(async () => {
      const page = await fetchPage();
      if (!page) return false;
      for (const region of root.querySelectorAll("[data-region]")) {
        const fresh = page.querySelector(`[data-region="${region.dataset.region}"]`);
        if (fresh && (isAtEnd || region.dataset.at !== "end")) replace(region, fresh);
      }
      return true;
    });
    return refreshes;
  }

  async function fetchPage() {
    try {
      const answer = await fetch(location.pathname, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) return null;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      return page.querySelector("[data-region]") ? page : null; // the login's page has none
    } catch {
      return null;
    }
  }

  function replace(region, fresh) {
    if (region.contains(document.activeElement)) return; // somebody is at it
    const open = [...region.querySelectorAll("details")].map((each) => each.open);
    region.replaceChildren(...fresh.childNodes);
    region.querySelectorAll("details").forEach((each, place) => {
      if (open[place]) each.open = true;
    });
  }

  function setProgress(percent) {
    const bar = at("progress");
    if (!bar) return refreshSoon();
    bar.value = percent;
    at("percent").textContent = `${percent} %`;
    return undefined;
  }

  // --- The stream --------------------------------------------------------------------------------------

  function say(text) {
    at("watching").textContent = text;
  }

  function offerReload(text) {
    say(text);
    at("reload").hidden = false;
  }

  function open() {
    source = new EventSource(`${root.dataset.stream}&last_event_id=${encodeURIComponent(lastId)}`);
    source.onopen = () => {
      failures = 0;
      at("reload").hidden = true;
      say("live");
    };
    source.onerror = onTrouble;
    for (const [type, tell] of Object.entries(TELL)) source.addEventListener(type, (event) => hear(event, tell));
  }

  function hear(event, tell) {
    if (event.data === undefined) return;
    if (event.lastEventId && event.type !== "end") {
      const id = parseInt(event.lastEventId, 10);
      if (id && id <= parseInt(lastId, 10)) {
        if (!SNAPSHOTS.has(event.type)) return;
      } else if (!SNAPSHOTS.has(event.type)) {
        lastId = event.lastEventId;
      }
    }
    tell(JSON.parse(event.data));
  }

  const why = ({ reason }) => (reason ? `: ${reason}` : ".");
  const SNAPSHOTS = new Set(["job", "workflow"]);
  let shown = ""; // of the snapshots, what the regions were last asked for

  function note(data) {
    const isOfWorkflow = root.querySelector('[data-region="steps"]') !== null;
    if (isOfWorkflow && data.step_name) steps.set(data.id, data.step_name);
    if (data.id && !isOfWorkflow) setProgress(data.progress);
    const now = JSON.stringify([data.id, data.workflow_id, data.status, data.attempt, data.progress]);
    if (now !== shown) refreshSoon();
    shown = now;
  }

  const TELL = {
    job: note,
    workflow: note,
    log(data) {
      for (const line of data.lines || []) add("log", line, data);
    },
    progress(data) {
      add("progress", `${data.progress || 0} % ${data.message || ""}`.trim(), data);
    },
    cancel_requested(data) {
      add("cancel_requested", `${data.by} asked it to stop${why(data)}`, data);
      refreshSoon();
    },
    cancelled(data) {
      add("cancelled", `${data.by} cancelled it${why(data)}`, data);
    },
    retried(data) {
      add("retried", `${data.by} had it tried again${data.after ? ", with another payload" : ""}${why(data)}`, data);
      refreshSoon();
    },
    end: finish,
    reset(data) {
      // A reader that was too slow comes back by itself; any other word means that the page shows another story.
      if (data.reason !== "too_slow") stop("This page can't go on from here.");
    },
  };

  async function finish(data) {
    if (isOver) return;
    isOver = true;
    source.close();
    say(`ended: ${data.status}`);
    if (!(await refresh(true))) offerReload("What came of it could not be asked for.");
  }

  function stop(text) {
    isOver = true;
    source.close();
    offerReload(text);
  }

  function onTrouble() {
    if (isOver) return;
    const isGivenUp = source.readyState === EventSource.CLOSED; // the browser comes again by itself unless it was refused
    failures += 1;
    if (isGivenUp && failures >= TRIES) stop("The stream is refused: see whether you are still logged in.");
    else if (isGivenUp) {
      source.close();
      setTimeout(() => isOver || open(), RETRY_MS);
    } else if (failures >= TRIES) offerReload("The server does not answer. The page goes on by itself once it does.");
    else if (failures > 1) say("reconnecting"); // once is how a stream goes on behind a plain web server
  }

  list.addEventListener("scroll", () => {
    setFollows(list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END_PX);
  });
  at("jump").addEventListener("click", jump);
  at("reload").addEventListener("click", () => location.reload());
  jump();
  open();
})();
