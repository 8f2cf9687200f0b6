/**
 * The worker of the digits: it trains when told to, and posts what is to be seen.
 *
 * | to the worker | |
 * |---|---|
 * | start: data, settings, show | first of all; `data` is base64 of what report/lab.py packs |
 * | settings: settings | hold from the next step on; units and seed from the next reset on |
 * | show: show | source, shown, from, to, arm: what is to be seen; changes no run |
 * | play, pause | |
 * | step: count | so many steps, then a pause |
 * | reset | both runs begin again, and pause |
 * | weights | for tests |
 *
 * | from the worker | |
 * |---|---|
 * | ready: labels, examples | labels of the held images, and pixels of the examples |
 * | update: begun, step, seen, isPlaying, losses, history, some of PARTS, mapOf | see `tell` |
 * | weights: runs, step | each run's arrays, as `sides` of vae.js orders them |
 * | failed: words | the digits cannot be unpacked or trained |
 */

import {
  digitStrip, heldCodes, latentMap, newDigits, reconstructedDigits, sampledDigits, stepDigits,
  unpackDigits,
} from "./digits.js";
import { sides } from "./vae.js";

const SLICE = 50; // milliseconds of training until the next message is read
const EVERY = 200; // milliseconds between two updates, about; what is to be seen takes time as well
const PARTS = {
  samples: (show) => sampledDigits(state, show),
  reconstructions: () => reconstructedDigits(state),
  strip: (show) => digitStrip(state, show),
  codes0: () => heldCodes(state, 0),
  codes1: () => heldCodes(state, 1),
  map: (show) => latentMap(state, show.arm),
};
const OFTEN = ["samples", "reconstructions", "strip"];
const IN_TURN = ["codes0", "codes1", "map"]; // each takes as long as a step, so an update has one
const NEEDS = { samples: ["source", "shown"], strip: ["from", "to"], map: ["arm"] };

let data, state, settings, show, history = [], begun = 0;
let target = 0, isWaiting = false, toldAt = 0, turn = 0;

const RECEIVED = {
  async start(message) {
    data = unpackDigits(await unzipped(message.data));
    ({ settings, show } = message);
    begin();
    const { labels } = data.held, { examples } = state;
    postMessage({ type: "ready", labels, examples });
    tell(Object.keys(PARTS));
  },
  settings(message) {
    settings = message.settings;
  },
  show(message) {
    const before = show;
    show = message.show;
    const changed = (part) => NEEDS[part].some((name) => show[name] !== before[name]);
    const parts = Object.keys(NEEDS).filter(changed);
    if (parts.length) tell(parts);
  },
  play() {
    goTo(Infinity);
  },
  pause() {
    target = state.step;
  },
  step({ count }) {
    goTo(state.step + count);
  },
  reset() {
    begin();
    tell(Object.keys(PARTS));
  },
  weights() {
    const runs = state.runs.map(({ model }) => sides(model));
    postMessage({ type: "weights", runs, step: state.step });
  },
};

async function unzipped(base64) {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function begin() {
  state = newDigits(data, settings);
  [history, target] = [[], 0];
  begun += 1;
}

function goTo(step) {
  target = step;
  if (!isWaiting && state.step < target) wait();
}

function wait() {
  isWaiting = true;
  setTimeout(train);
}

function train() {
  isWaiting = false;
  const until = performance.now() + SLICE;
  while (state.step < target && performance.now() < until) {
    stepDigits(state, settings);
    for (const { bce, kl, smoothBce, smoothKl } of state.losses) {
      history.push(bce, kl, smoothBce, smoothKl);
    }
  }
  if (state.step >= target) tell(Object.keys(PARTS));
  else if (performance.now() > toldAt + EVERY) {
    tell([...OFTEN, IN_TURN[turn++ % IN_TURN.length]]);
  }
  if (state.step < target) wait();
}

/**
 * Post an update: where the runs are, the losses of the steps since the last one, and some parts.
 * `begun` counts how often the runs began, so that the page knows which updates are late. `history`
 * has for each step and each run: bce, kl, and the running means of the two.
 * `mapOf` is the run that `map` is of.
 */
function tell(names) {
  const parts = Object.fromEntries(names.map((name) => [name, PARTS[name](show)]));
  const added = Float32Array.from(history);
  history = [];
  const { step, seen, losses } = state, isPlaying = step < target;
  const update = { type: "update", begun, step, seen, isPlaying, losses, history: added, ...parts };
  if (parts.map) update.mapOf = show.arm;
  postMessage(update, [added.buffer, ...Object.values(parts).map(({ buffer }) => buffer)]);
  toldAt = performance.now();
}

let handled = Promise.resolve(); // one message after the other, also while the data are unpacked
onmessage = ({ data: message }) => {
  handled = handled.then(() => RECEIVED[message.type](message)).catch((error) => {
    postMessage({ type: "failed", words: String(error) });
  });
};
