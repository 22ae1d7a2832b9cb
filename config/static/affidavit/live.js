// Parts of pages that stay up to date: <div data-live="/path/" data-every="5"> is filled anew from there.
//
// What is answered is laid over what is shown, node by node: scroll, focus, what is selected and opened stay. Rows are
// told apart by data-key. It asks while the tab is visible, more and more rarely while nobody answers, and stops for
// good at a fragment with a root that has data-live-end. The page may say how it stands: an element [data-live-state]
// with a [data-live-word] and a button [data-live-toggle], which stops and starts all parts.
"use strict";

(() => {
  const LONGEST_MS = 60_000; // between two tries while nobody answers
  const PATIENCE_MS = 15_000; // for one answer
  const GONE = [401, 403, 404]; // no longer allowed, or no longer there
  const parts = [];
  let isHeld = false; // by the reader

  class Part {
    constructor(root) {
      this.root = root;
      this.everyMs = Number(root.dataset.every || 5) * 1000;
      this.failures = 0;
      this.isOver = isEnd(root);
      this.isGone = false;
      this.isAsking = false;
      this.timer = 0;
      this.schedule(this.everyMs);
    }

    schedule(ms) {
      clearTimeout(this.timer);
      if (!this.isOver && !isHeld && !document.hidden) this.timer = setTimeout(() => this.refresh(), ms);
    }

    async refresh() {
      if (this.isAsking || this.isOver) return;
      this.isAsking = true;
      try {
        await this.ask();
        this.failures = 0;
      } catch {
        this.failures += 1;
      }
      this.isAsking = false;
      tell();
      this.schedule(Math.min(this.everyMs * 2 ** this.failures, Math.max(LONGEST_MS, this.everyMs)));
    }

    /** Show what is there now; raises where nobody answers, or with anything but the fragment. */
    async ask() {
      const answer = await fetch(this.root.dataset.live, {
        headers: { Accept: "text/html" },
        redirect: "manual",
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if (answer.type === "opaqueredirect") return this.leave(); // logged out: the page leads to the login
      if (GONE.includes(answer.status)) return this.giveUp();
      if (!answer.ok) throw new Error(`answered ${answer.status}`);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
      if (isHeld) return;
      lay(fresh, this.root);
      this.isOver = isEnd(fresh);
    }

    leave() {
      this.isOver = true;
      location.reload();
    }

    giveUp() {
      this.isOver = true;
      this.isGone = true;
    }
  }

  function isEnd(fragment) {
    return Boolean(fragment.querySelector(":scope > [data-live-end]"));
  }

  // --- One tree laid over another ------------------------------------------------------------------------

  /** Make the children of `shown` those of `fresh`, and change no more than differs. */
  function lay(fresh, shown) {
    const keyed = new Map();
    for (const child of shown.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
    const wanted = new Set([...fresh.children].map((child) => child.dataset.key).filter(Boolean));
    let here = shown.firstChild;
    for (const next of [...fresh.childNodes]) {
      const known = next.dataset?.key && keyed.get(next.dataset.key);
      // What is no longer wanted goes first: a row that is moved loses the focus.
      while (known && here && known !== here && !wanted.has(here.dataset?.key)) here = dropped(here);
      if (known && known !== here) {
        shown.insertBefore(known, here);
        here = known;
      }
      if (here && isAlike(next, here)) {
        change(next, here);
        here = here.nextSibling;
      } else {
        shown.insertBefore(document.importNode(next, true), here);
      }
    }
    while (here) here = dropped(here);
  }

  /** Take a node away; the one that followed it. */
  function dropped(node) {
    const following = node.nextSibling;
    node.remove();
    return following;
  }

  function isAlike(one, other) {
    return one.nodeName === other.nodeName && one.dataset?.key === other.dataset?.key;
  }

  function change(fresh, shown) {
    if (fresh.nodeType !== Node.ELEMENT_NODE) {
      if (fresh.nodeValue !== shown.nodeValue) shown.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...shown.attributes]) {
      if (!fresh.hasAttribute(name) && !isReaders(shown, name)) shown.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (shown.getAttribute(name) !== value && !isReaders(shown, name)) shown.setAttribute(name, value);
    }
    lay(fresh, shown);
  }

  /** What the reader has done to the page, which no answer takes back. */
  function isReaders(element, name) {
    return name === "open" && element.nodeName === "DETAILS";
  }

  // --- How it stands ---------------------------------------------------------------------------------------

  const WORDS = { live: "live", paused: "paused", offline: "offline – retrying", gone: "no longer there – reload the page", ended: "up to date" };

  function stateNow() {
    if (isHeld || document.hidden) return "paused";
    if (parts.some((part) => part.isGone)) return "gone";
    if (parts.some((part) => part.failures > 0)) return "offline";
    return parts.every((part) => part.isOver) ? "ended" : "live";
  }

  function tell() {
    const place = document.querySelector("[data-live-state]");
    if (!place) return;
    const state = stateNow();
    place.hidden = false;
    place.dataset.liveState = state;
    const word = place.querySelector("[data-live-word]");
    if (word.textContent !== WORDS[state]) word.textContent = WORDS[state];
  }

  function hold() {
    isHeld = !isHeld;
    const button = document.querySelector("[data-live-toggle]");
    button.setAttribute("aria-pressed", String(isHeld));
    button.querySelector("[aria-hidden]").textContent = isHeld ? "play_arrow" : "pause";
    goOn();
  }

  /** After a pause of whatever kind: at once, and not when the next turn would have come. */
  function goOn() {
    tell();
    for (const part of parts) part.schedule(0);
  }

  function begin() {
    parts.push(...[...document.querySelectorAll("[data-live]")].map((root) => new Part(root)));
    if (parts.length === 0) return;
    document.querySelector("[data-live-toggle]")?.addEventListener("click", hold);
    document.addEventListener("visibilitychange", goOn);
    window.addEventListener("online", goOn);
    tell();
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
