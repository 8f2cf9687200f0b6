/**
 * The digits: two runs side by side, and what is shown of them.
 *
 * Both runs begin with the same weights and see the same batches and the same noise. The first is
 * trained on the reconstruction alone, the study's failed first attempt; the second is the VAE.
 * Nothing that is shown draws from the streams of a run, so looking never changes one.
 */

import { normal, streamSeed, uniform } from "../shared/random.js";
import { advance, newRun } from "./training.js";
import { decode, encode } from "./vae.js";

export const ARMS = ["bce_only", "vae"];
export const SAMPLES = 25;
export const EXAMPLES = 10;
export const STRIP = 9;
export const CELLS = 16;
const LATENT = 2, SMOOTHED_OVER = 30; // steps

/**
 * The digits of the page, from the format that report/lab.py's `digits` describes.
 *
 * @returns two sets, `train` and `held`: {images, labels, count}, images `[count, 784]` in [0, 1]
 */
export function unpackDigits(bytes) {
  const header = new DataView(bytes.buffer, bytes.byteOffset, 8);
  const [trained, held] = [header.getUint32(0, true), header.getUint32(4, true)];
  const all = trained + held, content = bytes.subarray(8), size = content.length / all - 1;
  const set = (from, to) => ({
    images: Float32Array.from(content.subarray(from * size, to * size), (grey) => grey / 255),
    labels: content.slice(all * size + from, all * size + to),
    count: to - from,
  });
  return { train: set(0, trained), held: set(trained, all) };
}

/** One of each digit among the held images, in order: what is reconstructed. */
export function exampleDigits({ held }) {
  const first = (digit) => Math.max(0, held.labels.indexOf(digit));
  return rowsOf(held, Array.from({ length: EXAMPLES }, (_, digit) => first(digit)));
}

function rowsOf({ images, count }, indices) {
  const size = images.length / count, rows = new Float32Array(indices.length * size);
  indices.forEach((index, row) => {
    rows.set(images.subarray(index * size, (index + 1) * size), row * size);
  });
  return rows;
}

/**
 * Both runs at step 0.
 *
 * @param data what `unpackDigits` returned
 * @param settings units: hidden units of each side; seed
 */
export function newDigits(data, { units, seed }) {
  const size = data.train.images.length / data.train.count;
  const sizes = { data: size, latent: LATENT, encoder: Number(units), decoder: Number(units) };
  const how = { sizes, likelihood: "bernoulli", activation: "relu", seed };
  return {
    data,
    examples: exampleDigits(data),
    runs: ARMS.map(() => newRun(how, data.train.images)),
    step: 0,
    seen: 0, // images, with those of a later epoch counted again
    losses: ARMS.map(() => ({ bce: 0, kl: 0, smoothBce: 0, smoothKl: 0 })),
  };
}

/** One step of both runs; `settings` as for `advance`, of which the first run ignores beta. */
export function stepDigits(state, settings) {
  state.step += 1;
  state.runs.forEach((run, arm) => {
    advance(run, ARMS[arm] === "vae" ? settings : { ...settings, beta: 0 });
    follow(state.losses[arm], run.last, state.step);
  });
  state.seen += state.runs[0].last.rows;
}

/** Running means, over fewer steps at first, because the losses then fall fast. */
function follow(losses, { reconstruction, kl }, step) {
  const share = Math.max(3 / (step + 2), 1 / SMOOTHED_OVER);
  losses.bce = reconstruction;
  losses.kl = kl;
  losses.smoothBce += share * (reconstruction - losses.smoothBce);
  losses.smoothKl += share * (kl - losses.smoothKl);
}

/**
 * Samples of both runs from the same noise.
 *
 * @param show source: "prior" for z = eps, or "aggregate" for z from the q of a random training
 *   image, the same image and the same eps for both runs; shown: the seed of all that
 * @returns `[2, SAMPLES, 784]`, pixels in [0, 1]
 */
export function sampledDigits({ runs, data: { train } }, { source, shown }, count = SAMPLES) {
  const noise = normal(streamSeed(shown, "shown"));
  const random = uniform(streamSeed(shown, "shown images"));
  const eps = Float32Array.from({ length: count * LATENT }, noise);
  if (source === "prior") return joined(runs.map((run) => pixels(run, eps)));
  const chosen = Array.from({ length: count }, () => Math.floor(train.count * random()));
  const images = rowsOf(train, chosen);
  return joined(runs.map((run) => {
    const { mu, logvar } = encode(run.model, images, count);
    return pixels(run, mu.map((each, i) => each + Math.exp(0.5 * logvar[i]) * eps[i]));
  }));
}

function pixels({ model }, z) {
  return decode(model, z, z.length / LATENT).map((logit) => 1 / (1 + Math.exp(-logit)));
}

function joined(arrays) {
  const all = new Float32Array(arrays.length * arrays[0].length);
  arrays.forEach((array, i) => all.set(array, i * array.length));
  return all;
}

/** Both runs' reconstructions of `examples` from the means of their codes, `[2, EXAMPLES, 784]`. */
export function reconstructedDigits({ runs, examples }) {
  return joined(runs.map((run) => pixels(run, encode(run.model, examples, EXAMPLES).mu)));
}

/** The means of q for the held images, `[count, 2]`, of one run. */
export function heldCodes({ runs, data: { held } }, arm) {
  return encode(runs[arm].model, held.images, held.count).mu;
}

/** Both runs along the straight line between two examples' codes, `[2, STRIP, 784]`. */
export function digitStrip({ runs, examples }, { from, to }) {
  const ends = rowsOf({ images: examples, count: EXAMPLES }, [from, to]);
  return joined(runs.map((run) => {
    const { mu } = encode(run.model, ends, 2);
    return pixels(run, Float32Array.from({ length: STRIP * LATENT }, (_, i) => {
      const share = Math.floor(i / LATENT) / (STRIP - 1), k = i % LATENT;
      return (1 - share) * mu[k] + share * mu[LATENT + k];
    }));
  }));
}

/**
 * One run's decoded map: cells of equal prior probability, row by row from the top left.
 *
 * @returns `[CELLS, CELLS, 784]`; the first latent grows to the right, the second upwards
 */
export function latentMap({ runs }, arm) {
  const at = priorQuantiles(CELLS);
  return pixels(runs[arm], Float32Array.from({ length: CELLS ** 2 * LATENT }, (_, i) => {
    const cell = Math.floor(i / LATENT), row = Math.floor(cell / CELLS);
    return i % LATENT === 0 ? at[cell % CELLS] : at[CELLS - 1 - row];
  }));
}

/** The middles of n parts of equal probability of a standard normal, by bisection. */
export function priorQuantiles(n) {
  return Array.from({ length: n }, (_, i) => {
    let low = -6, high = 6;
    while (high - low > 1e-9) {
      const middle = (low + high) / 2;
      if (shareBelow(middle) < (i + 0.5) / n) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  });
}

/** The share of a standard normal below z: its density's Taylor series, summed term by term. */
function shareBelow(z) {
  let term = z, sum = z;
  for (let n = 1; Math.abs(term) > 1e-16 * Math.abs(sum); n++) {
    term *= (z * z) / (2 * n + 1);
    sum += term;
  }
  return 0.5 + (sum * Math.exp(-0.5 * z * z)) / Math.sqrt(2 * Math.PI);
}
