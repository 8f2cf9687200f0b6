/** Elements, words and time: what every part of a page needs. */

export const byId = (id) => document.getElementById(id);

/** A number with so many digits, with a real minus, and never as "-0.00". */
export function shown(x, digits = 2) {
  return (Math.round(x * 10 ** digits) / 10 ** digits || 0).toFixed(digits).replace("-", "\u2212");
}

const waiting = new Set();

/** Call a function with the next frame, once, however often it is asked for until then. */
export function soon(paint) {
  if (!waiting.size) {
    requestAnimationFrame(() => {
      const now = [...waiting];
      waiting.clear();
      for (const each of now) each();
    });
  }
  waiting.add(paint);
}

/** Let the browser answer the user before the next piece of a long work. */
export const pause = () => new Promise((resume) => setTimeout(resume));

const newest = new Map(); // of the elements that are not to change yet
const QUIET = 5000; // milliseconds

/** Say a text to those who listen, not more often than they can follow, and always the last one. */
export function announce(element, text) {
  if (newest.has(element)) {
    newest.set(element, text);
    return;
  }
  element.textContent = text;
  newest.set(element, text);
  setTimeout(() => {
    const latest = newest.get(element);
    newest.delete(element);
    if (latest !== element.textContent) announce(element, latest);
  }, QUIET);
}
