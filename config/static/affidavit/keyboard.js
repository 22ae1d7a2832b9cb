// The monitor by keyboard: / searches, j and k walk along rows, g goes elsewhere, ? says it all.
// To be at a row is to have the focus on its link: so Enter opens it, and a screen reader says where one is.
"use strict";

(() => {
  const GO_SECONDS = 1.5; // between g and where to
  const RETRY = /^(retry|redeliver|recover)/;

  let place = -1; // the row one was at last
  let goesUntil = 0;

  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const dialog = () => document.getElementById("afd-keys");

  const isTyped = (target) => target.closest("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable=true]");

  const isShown = (element) => element.getClientRects().length > 0;

  const linkOf = (row) => row.querySelector("th a[href], td a[href], a[href]");

  const rows = () =>
    all("#result_list tbody > tr.data-row, .afd-card tbody > tr, .afd-rows > li").filter((row) => isShown(row) && linkOf(row));

  function currentRow() {
    return rows().find((row) => row.contains(document.activeElement));
  }

  function walk(step) {
    const listed = rows();
    if (!listed.length) return false;
    const at = listed.indexOf(currentRow());
    place = Math.min(Math.max((at < 0 ? place : at) + step, 0), listed.length - 1);
    linkOf(listed[place]).focus({ focusVisible: true });
    listed[place].scrollIntoView({ block: "nearest" });
    return true;
  }

  function open() {
    const row = currentRow();
    if (row) linkOf(row).click();
    return Boolean(row);
  }

  function select() {
    const box = currentRow()?.querySelector("input.action-select");
    box?.click(); // as by hand: others count what is selected
    return Boolean(box);
  }

  function search() {
    const field = all("#searchbar, #nav-filter").find(isShown);
    field?.focus();
    field?.select();
    return Boolean(field);
  }

  // Runs what a button of this page would: that of a record, or the action of a list over what is selected.
  function retry() {
    const verb = all(".afd-verbs form input[name=action]").find((input) => RETRY.test(input.value));
    if (!verb) return retryOnList();
    verb.form.requestSubmit(verb.form.querySelector("[type=submit]"));
    return true;
  }

  function retryOnList() {
    const choice = document.querySelector("#changelist-form select[name=action]");
    const action = choice && [...choice.options].find((option) => RETRY.test(option.value));
    if (!action) return false;
    if (!document.querySelector("input.action-select:checked") && !select()) return false;
    choice.value = action.value;
    choice.dispatchEvent(new Event("change", { bubbles: true }));
    choice.form.requestSubmit();
    return true;
  }

  function edit() {
    const link = all('.afd-head a[href$="/edit/"]').find(isShown);
    link?.click();
    return Boolean(link);
  }

  function help() {
    dialog()?.showModal();
    return Boolean(dialog());
  }

  function leave() {
    if (document.activeElement === document.body) return false;
    document.activeElement.blur();
    return true;
  }

  function startGoing() {
    goesUntil = Date.now() + GO_SECONDS * 1000;
    return true;
  }

  function go(key) {
    const link = dialog()?.querySelector(`a[data-go="${CSS.escape(key)}"]`);
    if (!link || link.closest("[hidden]")) return false;
    window.location.assign(link.href);
    return true;
  }

  const KEYS = {
    "/": search,
    "?": help,
    j: () => walk(1),
    k: () => walk(-1),
    o: open,
    x: select,
    r: retry,
    e: edit,
    g: startGoing,
    Escape: leave,
  };

  function onKey(event) {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return; // it has keys of its own
    if (isTyped(event.target) && event.key !== "Escape") return;
    const isGoing = Date.now() < goesUntil;
    goesUntil = 0;
    const isDone = isGoing ? go(event.key) : Object.hasOwn(KEYS, event.key) && KEYS[event.key]();
    if (isDone) event.preventDefault();
  }

  // Where this account may not go, there is no link in the sidebar either.
  function hideUnreachable() {
    const reachable = new Set(all("a[href]").filter((link) => !link.dataset.go).map((link) => link.href));
    for (const link of all("a[data-go]", dialog())) link.closest("dl > div").hidden = !reachable.has(link.href);
  }

  document.addEventListener("DOMContentLoaded", () => {
    if (!dialog()) return;
    hideUnreachable();
    document.addEventListener("keydown", onKey);
    document.addEventListener("click", (event) => {
      if (event.target.closest("[data-keys]")) help();
      else if (event.target === dialog()) dialog().close(); // beside it
    });
  });
})();
