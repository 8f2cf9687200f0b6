// What scrolls sideways must be reachable by keyboard, and what does not is no stop on the way.
const BOXES = "pre, .table-wrapper, div.math, .formula";

function markScrolling() {
  for (const box of document.querySelectorAll(BOXES)) {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
    } else {
      box.removeAttribute("tabindex");
    }
  }
}

addEventListener("resize", markScrolling);
addEventListener("load", async () => {
  await window.MathJax?.startup.promise;
  markScrolling();
});

// Sphinx takes Escape for the words of a search; an open box is closed by it.
addEventListener(
  "keydown",
  (event) => {
    if (event.key === "Escape" && document.querySelector(":popover-open")) event.stopPropagation();
  },
  { capture: true },
);

// Opened as a file, a page may not read others, so that search results go without excerpts.
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
