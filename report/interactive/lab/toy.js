/** The toy world: a run on points in the plane, and what is known of it exactly. */

import { fromText, points } from "./datasets.js";
import { gaps, onGrid, posterior } from "./exact.js";
import { advance, newRun } from "./training.js";
import { decode, encode, kl, mean } from "./vae.js";
import { normal, streamSeed } from "../shared/random.js";

export const WATCHED = 32; // points whose exact values are averaged over time
const EVERY = 10; // steps between two entries of the history
const ENCODER_UNITS = 32, FIRST_SIGMA = 0.2;
export const LEAST_POINTS = 3;

/** The data that the settings name: the points of a shape, or those drawn by hand. */
export function dataOf({ data, seed, points: drawn }) {
  return data === "drawn" ? fromText(drawn) : points(data, seed);
}

/** A world at step 0: its run, and an empty history. */
export function newWorld(settings) {
  const sizes = { data: 2, latent: 1, encoder: ENCODER_UNITS, decoder: Number(settings.units) };
  const { seed } = settings, sigma = Number(settings.sigma) || FIRST_SIGMA;
  const about = { sizes, likelihood: "gaussian", activation: "tanh", seed, sigma };
  const world = { run: newRun(about, dataOf(settings)), history: [] };
  if (canTrain(world)) note(world);
  return world;
}

export const canTrain = ({ run }) => run.count >= LEAST_POINTS;

/** Other points for the same networks: those that are being drawn. */
export function replaceData({ run }, data) {
  Object.assign(run, { data, count: data.length / 2, order: null, next: 0 });
}

/** One step of training; every tenth is noted in the history. */
export function step(world, settings) {
  advance(world.run, { ...settings, fixedSigma: Number(settings.sigma) });
  if (world.run.step % EVERY === 0) note(world);
}

function note(world) {
  const { means } = look(world, watched(world.run));
  world.history.push({ step: world.run.step, ...means });
}

/** Points spread evenly over the data, as their numbers. */
export function watched({ count }) {
  const many = Math.min(WATCHED, count);
  return Array.from({ length: many }, (_, i) => Math.floor((i * count) / many));
}

/**
 * What is known exactly of some points of the data.
 *
 * @param numbers of the points
 * @returns there: the grid; q: mu and logvar; rows: for each point its number, x, posterior on the
 *   grid, and what `gaps` returns; means: of evidence, elbo, approximation, amortisation, kl
 */
export function look({ run }, numbers) {
  const x = new Float64Array(2 * numbers.length);
  numbers.forEach((number, row) => x.set(pointOf(run, number), 2 * row));
  const q = encode(run.model, x, numbers.length);
  const there = onGrid(run.model, x, numbers.length, q.mu);
  const divergence = kl(q, numbers.length);
  const rows = numbers.map((number, row) => {
    const point = x.subarray(2 * row, 2 * row + 2);
    const known = gaps(run.model, there, row, point, q.mu[row], q.logvar[row]);
    return { number, point, mu: q.mu[row], logvar: q.logvar[row], kl: divergence[row], ...known };
  });
  const average = (name) => mean(rows.map((row) => row[name]));
  const names = ["evidence", "elbo", "approximation", "amortisation", "kl"];
  return { there, rows, means: Object.fromEntries(names.map((name) => [name, average(name)])) };
}

export const densityOf = ({ there }, row) => posterior(there.joints[row], there.step);

export const pointOf = ({ data }, number) => data.subarray(2 * number, 2 * number + 2);

/** The point of the data that is nearest to a place. */
export function nearest({ data, count }, x, y) {
  let best = 0, least = Infinity;
  for (let i = 0; i < count; i++) {
    const square = (data[2 * i] - x) ** 2 + (data[2 * i + 1] - y) ** 2;
    if (square < least) [best, least] = [i, square];
  }
  return best;
}

/** The numbers of the points in the order of their codes, for walking along them. */
export function byCode({ model, data, count }) {
  const { mu } = encode(model, data, count);
  return Array.from({ length: count }, (_, i) => i).sort((a, b) => mu[a] - mu[b]);
}

const SHOWN = 200;

/**
 * New points from the model, `[200, 2]`: z from the prior, or from q of a point of the data, and
 * then x with the decoder's noise. The same random numbers at every step, so that points move and
 * do not flicker.
 */
export function samples({ run }, source, seed) {
  const random = normal(streamSeed(seed, "shown"));
  const many = Math.min(SHOWN, source === "aggregate" ? run.count : SHOWN);
  const z = Float64Array.from({ length: many }, random);
  const noise = Float64Array.from({ length: 2 * many }, random);
  if (source === "aggregate") {
    const { mu, logvar } = encode(run.model, run.data, run.count);
    z.forEach((eps, i) => {
      const number = Math.floor((i * run.count) / many);
      z[i] = mu[number] + Math.exp(0.5 * logvar[number]) * eps;
    });
  }
  const sigma = Math.exp(run.model.logSigma[0]);
  return decode(run.model, z, many).map((x, i) => x + sigma * noise[i]);
}
