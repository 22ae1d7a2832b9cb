// A page that shows a secret once: going back or reloading leads elsewhere, and does not post the form again.
const shownOnce = document.querySelector("[data-instead]");
if (shownOnce) history.replaceState(null, "", shownOnce.dataset.instead);
