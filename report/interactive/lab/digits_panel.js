/** The tab of the digits: a worker trains two runs, and the panels show what it posts. */

import { byId, shown, soon } from "../shared/dom.js";
import { ARMS, CELLS, EXAMPLES, SAMPLES, STRIP } from "./digits.js";
import {
  LOSSES, PER_STEP, paintDigits, paintLossCurve, paintPairs, paintPlaneOfCodes, shareWithin,
} from "./digits_pictures.js";

const SPOKEN_EVERY = 5000; // milliseconds
const NAMES_OF_ARMS = ["BCE only", "BCE + KL"];
const NOTHING_YET = { step: 0, seen: 0, isPlaying: false, losses: null };
const RADIUS = 3; // of a circle that holds 99 % of the prior

/**
 * The tab, wired to its elements.
 *
 * @param root the element that holds digits.html
 * @param settings of the fields DIGITS_FIELDS
 * @param changed called with what the tab itself has changed, for instance {from: 3}
 * @param updated called when the worker has posted something new
 */
export function digitsPanel(root, settings, changed = () => {}, updated = () => {}) {
  let worker = null, labels = null, examples = null, failure = "";
  let last = NOTHING_YET, begun = 1; // how often the runs began; earlier ones' updates are late
  let history = [], mapOf = 1, spokenAt = -Infinity, answer = null;
  const pictures = {}; // what the worker posted last
  const fresh = new Set(); // names of those that are to be painted

  function wanted() {
    const { source, shown: draws, from, to, arm } = settings;
    return { source, shown: draws, from, to, arm };
  }

  // ---- The worker ------------------------------------------------------------------------------

  function post(type, content = {}) {
    start();
    worker.postMessage({ type, ...content });
  }

  /** Begin: unpack the digits and show both runs at step 0. */
  function start() {
    if (worker) return;
    const source = new Blob([byId("worker-source").textContent], { type: "text/javascript" });
    const address = URL.createObjectURL(source);
    worker = new Worker(address);
    worker.onmessage = ({ data }) => RECEIVED_BY_PAGE[data.type](data);
    worker.onerror = (error) => RECEIVED_BY_PAGE.failed({ words: error.message });
    const data = byId("digits-data").textContent.trim();
    worker.postMessage({ type: "start", data, settings: { ...settings }, show: wanted() });
    byId("digits-status").textContent = "Unpacking the digits …";
  }

  const RECEIVED_BY_PAGE = {
    ready(message) {
      ({ labels, examples } = message);
      byId("digits-held").textContent = labels.length.toLocaleString("en");
    },
    update({ history: added, ...message }) {
      if (message.begun < begun) return;
      for (let i = 0; i < added.length; i += PER_STEP) {
        history.push(added.subarray(i, i + PER_STEP));
      }
      last = message;
      updated();
      for (const name of Object.keys(PAINTERS)) {
        if (!message[name]) continue;
        pictures[name] = message[name];
        fresh.add(name);
      }
      mapOf = message.mapOf ?? mapOf;
      soon(paint);
    },
    weights(message) {
      answer?.(message);
    },
    failed({ words }) {
      failure = `The digits cannot be trained here: ${words}`;
      soon(paint);
    },
  };

  // ---- Pictures --------------------------------------------------------------------------------

  function paint() {
    for (const name of fresh) PAINTERS[name](pictures[name]);
    fresh.clear();
    for (const name of Object.keys(LOSSES)) paintCurveOf(name);
    showLosses();
    report();
  }

  const PAINTERS = {
    samples(pixels) {
      const from = wanted().source === "prior" ? "the prior" : "the codes of the data";
      eachArm("samples", pixels, (canvas, own, arm) => {
        paintDigits(canvas, own, SAMPLES);
        canvas.ariaLabel = `${SAMPLES} samples from ${from}, ${NAMES_OF_ARMS[arm]}, ${where()}`;
      });
    },
    reconstructions(pixels) {
      eachArm("reconstructions", pixels, (canvas, own, arm) => {
        paintPairs(canvas, examples, own);
        canvas.ariaLabel =
          `The digits 0 to 9, each above its reconstruction, ${NAMES_OF_ARMS[arm]}, ${where()}`;
      });
    },
    strip(pixels) {
      const { from, to } = settings;
      eachArm("strip", pixels, (canvas, own, arm) => {
        paintDigits(canvas, own, STRIP, STRIP, 2);
        canvas.ariaLabel =
          `${STRIP} pictures from a ${from} to a ${to}, ${NAMES_OF_ARMS[arm]}, ${where()}`;
      });
    },
    codes0: (codes) => paintCodesOf(0, codes),
    codes1: (codes) => paintCodesOf(1, codes),
    map(pixels) {
      const canvas = byId("digits-map");
      paintDigits(canvas, pixels, CELLS ** 2, CELLS, 0);
      canvas.ariaLabel =
        `The latent plane as ${CELLS} by ${CELLS} digits, ${NAMES_OF_ARMS[mapOf]}, ${where()}`;
    },
  };

  const where = () => `step ${last.step.toLocaleString("en")}`;

  function eachArm(name, pixels, show) {
    const half = pixels.length / ARMS.length;
    ARMS.forEach((_, arm) =>
      show(byId(`digits-${name}-${arm}`), pixels.subarray(arm * half, (arm + 1) * half), arm));
  }

  function paintCodesOf(arm, codes) {
    const canvas = byId(`digits-codes-${arm}`), reach = paintPlaneOfCodes(canvas, codes, labels);
    const inside = `${shown(100 * shareWithin(codes, RADIUS), 0)} % within radius ${RADIUS}`;
    byId(`digits-inside-${arm}`).textContent = inside;
    canvas.ariaLabel =
      `Codes of ${labels.length} held-out images, ${NAMES_OF_ARMS[arm]}, ${where()}: ${inside}; ` +
      `the picture reaches to ${reach}`;
  }

  function paintCurveOf(name) {
    const canvas = byId(`digits-curve-${name}`), { at, words } = LOSSES[name];
    paintLossCurve(canvas, history, LOSSES[name], ARMS.map((_, arm) =>
      getComputedStyle(byId(`digits-key-${arm}`)).borderBottomColor));
    const now = (arm) => (history.length ? shown(history.at(-1)[4 * arm + 2 + at], 1) : "none");
    const both = ARMS.map((_, arm) => `${NAMES_OF_ARMS[arm]} ${now(arm)}`);
    canvas.ariaLabel =
      `${words} over ${history.length} steps, in nats per image; now ${both.join(", ")}`;
  }

  function showLosses() {
    last.losses?.forEach(({ smoothBce, smoothKl }, arm) => {
      byId(`digits-bce-${arm}`).textContent = last.step ? shown(smoothBce, 1) : "–";
      byId(`digits-kl-${arm}`).textContent = last.step ? shown(smoothKl, 1) : "–";
    });
  }

  /** The status for all, and at most every five seconds for those who hear it. */
  function report() {
    const images = `${last.seen.toLocaleString("en")} images seen`;
    const words = failure || `Step ${last.step.toLocaleString("en")}, ${images}`;
    byId("digits-status").textContent = words;
    if (performance.now() < spokenAt + SPOKEN_EVERY && last.isPlaying && !failure) return;
    spokenAt = performance.now();
    const { losses } = last;
    const bce = losses && last.step
      ? `; BCE ${losses.map(({ smoothBce }) => shown(smoothBce, 0)).join(" and ")} nats per image`
      : "";
    byId("digits-spoken").textContent = `${words}${bce}`;
  }

  // ---- Controls --------------------------------------------------------------------------------

  function own(changes) {
    Object.assign(settings, changes);
    changed(changes);
    showControls();
    if (worker) post("show", { show: wanted() });
  }

  function showControls() {
    byId("digits-from").value = settings.from;
    byId("digits-to").value = settings.to;
    for (const radio of root.querySelectorAll("[name=digits-source]")) {
      radio.checked = radio.value === wanted().source;
    }
    for (const radio of root.querySelectorAll("[name=digits-arm]")) {
      radio.checked = radio.value === String(settings.arm);
    }
  }

  for (const canvas of root.querySelectorAll("canvas")) canvas.ariaLabel = "Nothing yet";
  for (const name of ["from", "to"]) {
    const select = byId(`digits-${name}`);
    for (let digit = 0; digit < EXAMPLES; digit++) select.add(new Option(digit, digit));
    select.addEventListener("change", () => own({ [name]: Number(select.value) }));
  }
  for (const radio of root.querySelectorAll("[name=digits-source]")) {
    radio.addEventListener("change", () => own({ source: radio.value }));
  }
  for (const radio of root.querySelectorAll("[name=digits-arm]")) {
    radio.addEventListener("change", () => own({ arm: Number(radio.value) }));
  }
  byId("digits-again").addEventListener("click", () => own({ shown: (settings.shown + 1) >>> 0 }));
  showControls();

  function reset() {
    if (!worker) return;
    post("reset");
    begun += 1;
    [last, history] = [NOTHING_YET, []];
    soon(paint);
  }

  /** All is painted again: where sizes or colours changed. */
  function repaint() {
    for (const name of Object.keys(pictures)) fresh.add(name);
    soon(paint);
  }
  new ResizeObserver(() => worker && repaint()).observe(root);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

  return {
    start,
    play: () => post("play"),
    pause: () => worker && post("pause"),
    step: (count = 1) => post("step", { count }),
    reset,
    set(next) {
      Object.assign(settings, next);
          showControls();
      if (!worker) return;
      post("settings", { settings: { ...settings } });
      post("show", { show: wanted() });
    },
    setSeed(seed) {
      Object.assign(settings, { seed });
      if (worker) post("settings", { settings: { ...settings } });
      reset();
    },
    state: () => ({ ...last, isReady: Boolean(labels), failure, show: wanted() }),
    /** For tests: the weights of both runs, as soon as the worker reads its messages. */
    weights: () => new Promise((resolve) => {
      answer = resolve;
      post("weights");
    }),
    pictures: () => pictures,
  };
}
