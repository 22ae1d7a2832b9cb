// The console of a proof session: goes on live from what the server has rendered.
//
// Lines come by server-sent events and are added as text. Everything else is taken from the page itself, asked for
// anew: what a badge, a table or an advice looks like is said once, in the templates.
"use strict";

(() => {
  const root = document.querySelector("[data-console]");
  if (!root) return;

  const TRIES = 3; // without an answer, before the reader is told
  const RETRY_MS = 3000; // as the server says in its streams
  const FLUSH_MS = 50;
  const REFRESH_MS = 200; // what happens together asks for the page once
  const NEAR_END_PX = 24;

  const at = (name) => document.querySelector(`[data-${name}]`);
  const list = at("log");
  const trouble = at("trouble");
  const linesMax = Number(root.dataset.linesMax);
  const endsAt = performance.now() + Number(root.dataset.secondsLeft) * 1000;
  const ahead = Number(root.dataset.nowMs) - Date.now(); // the server's clock, of ours

  let source = null;
  let lastId = root.dataset.lastId; // as the server names it
  let seen = parseInt(lastId, 10);
  let failures = 0;
  let isOver = !root.dataset.stream;
  let leftOut = Number(root.dataset.leftOut);
  let follows = true;
  let waiting = [];

  // --- The log -----------------------------------------------------------------------------------------

  function jump() {
    list.scrollTop = list.scrollHeight;
    setFollows(true);
  }

  function setFollows(does) {
    follows = does;
    at("jump").hidden = does;
  }

  function row({ kind, moment, text }) {
    const item = document.createElement("li");
    item.className = kind;
    const time = document.createElement("time");
    time.dateTime = moment.toISOString();
    time.textContent = time.dateTime.slice(11, 19);
    const said = document.createElement("pre");
    said.textContent = text;
    item.append(time, said);
    return item;
  }

  function add(kind, text, moment = new Date(Date.now() + ahead)) {
    if (waiting.length === 0) setTimeout(flush, FLUSH_MS);
    waiting.push({ kind, moment, text });
    // A page in the background is rarely woken: what would be dropped at once is not kept till then.
    if (waiting.length > 2 * linesMax) drop(waiting.splice(0, waiting.length - linesMax).length);
  }

  function flush() {
    list.append(...waiting.map(row));
    waiting = [];
    const excess = list.children.length - linesMax;
    for (let each = 0; each < excess; each += 1) list.firstElementChild.remove();
    if (excess > 0) drop(excess);
    if (follows) list.scrollTop = list.scrollHeight;
  }

  function drop(count) {
    leftOut += count;
    at("dropped").textContent = `The first ${leftOut} events are not shown.`;
    at("dropped").hidden = false;
  }

  // --- What else the page shows ------------------------------------------------------------------------

  let refreshes = Promise.resolve();
  let isRefreshDue = false;

  function refreshSoon() {
    if (isRefreshDue) return;
    isRefreshDue = true;
    setTimeout(() => {
      isRefreshDue = false;
      refresh(false);
    }, REFRESH_MS);
  }

  /** Bring the regions up to date, one answer after the other; whether the session is over, null where nobody answers. */
  function refresh(isAtEnd) {
    refreshes = refreshes.then(async () => {
      const page = await fetchPage();
      if (!page) return null;
      for (const region of document.querySelectorAll("[data-region]")) {
        const fresh = page.querySelector(`[data-region="${region.dataset.region}"]`);
        if (fresh && (isAtEnd || region.dataset.at !== "end")) replace(region, fresh);
      }
      if (isAtEnd) at("phase").textContent = page.querySelector("[data-phase]").textContent;
      if (isAtEnd) setProgress(page.querySelector("[data-progress]").value);
      noteRunning();
      const ended = !page.querySelector("[data-console]").dataset.stream;
      if (ended) say(page.querySelector("[data-watching]").textContent);
      return ended;
    });
    return refreshes;
  }

  async function fetchPage() {
    try {
      const answer = await fetch("?part=state", { headers: { Accept: "text/html" } });
      if (!answer.ok) return null;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      return page.querySelector("[data-console]") ? page : null; // the login's page has none
    } catch {
      return null;
    }
  }

  function replace(region, fresh) {
    const focused = region.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    region.replaceChildren(...fresh.childNodes);
    if (focused) region.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  function setProgress(percent) {
    at("progress").value = percent;
    at("percent").textContent = `${percent} %`;
  }

  let running = null; // the phase that runs: where its seconds stand, and since when

  function noteRunning() {
    const cell = document.querySelector("[data-running-for]");
    running = cell && { cell, since: performance.now() - Number(cell.dataset.runningFor) * 1000 };
  }

  function tick() {
    if (running) running.cell.textContent = `${((performance.now() - running.since) / 1000).toFixed(0)} s`;
  }

  // --- The stream --------------------------------------------------------------------------------------

  function say(text) {
    at("watching").textContent = text;
  }

  function offerReload(text) {
    trouble.querySelector("span").textContent = text;
    trouble.hidden = false;
  }

  function open() {
    const url = `${root.dataset.stream}&last_event_id=${encodeURIComponent(lastId)}`;
    source = new EventSource(url);
    source.onopen = () => {
      failures = 0;
      trouble.hidden = true;
      say("live");
    };
    for (const [type, tell] of Object.entries(TELL)) source.addEventListener(type, (event) => hear(event, tell));
    source.addEventListener("reset", (event) => {
      // A reader that was too slow comes back by itself; any other word means that the page shows another stream.
      if (JSON.parse(event.data).reason !== "too_slow") stop("This page can't go on from here.");
    });
  }

  function hear(event, tell) {
    // The connection's own trouble has the name of one of our events, and no data.
    if (event.data === undefined) return onTrouble();
    if (event.lastEventId) {
      const id = parseInt(event.lastEventId, 10);
      if (id <= seen) return undefined;
      seen = id;
      lastId = event.lastEventId;
    }
    return tell(JSON.parse(event.data));
  }

  const TELL = {
    status({ progress, step }) {
      setProgress(progress);
      at("phase").textContent = step;
      add("status", step);
      refreshSoon();
    },
    log({ message, timestamp }) {
      add("log", message, new Date(timestamp));
    },
    transaction: refreshSoon,
    complete: finish,
    error: finish,
  };

  async function finish() {
    if (isOver) return;
    isOver = true;
    source.close();
    say("ended");
    if ((await refresh(true)) === null) offerReload("What came of it could not be asked for.");
  }

  function stop(text) {
    isOver = true;
    source.close();
    say("not live");
    offerReload(text);
  }

  async function onTrouble() {
    if (isOver) return;
    const isGivenUp = source.readyState === EventSource.CLOSED; // the browser comes again by itself unless it was refused
    failures += 1;
    say("reconnecting");
    if (isGivenUp) source.close();
    if (isGivenUp && (await refresh(true)) === true) isOver = true;
    else if (isGivenUp && failures >= TRIES) stop("The stream is refused: see whether you are still logged in.");
    else if (isGivenUp) setTimeout(() => isOver || open(), RETRY_MS);
    else if (failures >= TRIES) offerReload("The server does not answer. The page goes on by itself once it does.");
  }

  /** An hour after it began: the server says so. */
  function expire() {
    if (isOver) return;
    isOver = true;
    source.close();
    refresh(true);
  }

  list.addEventListener("scroll", () => {
    setFollows(list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END_PX);
  });
  at("jump").addEventListener("click", jump);
  trouble.querySelector("button").addEventListener("click", () => location.reload());
  jump();
  if (isOver) return;
  noteRunning();
  setInterval(tick, 1000);
  setTimeout(expire, endsAt - performance.now());
  say("connecting");
  open();
})();
