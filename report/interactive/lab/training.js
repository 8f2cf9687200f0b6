/** A run: a model, its optimisers, and the random streams that make it the same run again. */

import { normal, permutation, streamSeed, uniform } from "../shared/random.js";
import { adam, adamStep } from "./network.js";
import { lossAndGradients, sides, vae } from "./vae.js";

/**
 * A run at step 0.
 *
 * @param sizes see `vae`
 * @param likelihood "gaussian" or "bernoulli"
 * @param data `[n, sizes.data]`, a typed array; the model is made of the same kind
 */
export function newRun({ sizes, likelihood, activation, seed, sigma = 0.5 }, data) {
  const Kind = data.constructor;
  const model = vae(sizes, likelihood, activation, uniform(streamSeed(seed, "weights")), Kind);
  if (model.logSigma) model.logSigma[0] = Math.log(sigma);
  const { encoder, decoder } = sides(model);
  return {
    model,
    data,
    count: data.length / sizes.data,
    optimisers: { encoder: adam(encoder), decoder: adam(decoder) },
    noise: normal(streamSeed(seed, "noise")),
    shuffling: uniform(streamSeed(seed, "batches")),
    order: null,
    next: 0,
    step: 0,
    last: null, // what the last step computed
  };
}

/**
 * One step of training.
 *
 * @param settings beta; rate; batch, in rows; samples; noise: false for z = mu; train: "both",
 *   "encoder" or "decoder"; fixedSigma: the decoder's standard deviation, where it is not learnt
 */
export function advance(run, settings) {
  const batch = nextBatch(run, Math.min(settings.batch, run.count));
  const { model } = run;
  const eps = new batch.x.constructor(batch.rows * settings.samples * model.latent);
  for (let i = 0; i < eps.length; i++) eps[i] = run.noise();
  if (model.logSigma && settings.fixedSigma) model.logSigma[0] = Math.log(settings.fixedSigma);

  const computed = lossAndGradients(model, batch.x, batch.rows, eps, settings);
  for (const [side, arrays] of Object.entries(sides(model))) {
    if (settings.train !== "both" && settings.train !== side) continue;
    adamStep(run.optimisers[side], arrays, computed.gradients[side], settings.rate);
  }
  if (model.logSigma) keepAbove(model.logSigma, settings.fixedSigma);
  run.step += 1;
  run.last = { ...computed, ...batch, eps };
}

/** The decoder's least learnt standard deviation: that of the noise of `datasets.js`. */
export const LEAST_SIGMA = 0.08;

/**
 * The decoder's width is what was asked for, or stays above the noise of the data: with a width
 * near zero the likelihood of points on the curve has no limit.
 */
function keepAbove(logSigma, fixedSigma) {
  logSigma[0] = fixedSigma ? Math.log(fixedSigma) : Math.max(logSigma[0], Math.log(LEAST_SIGMA));
}

/** The next rows of the data: each at most once per epoch, and whole batches only. */
function nextBatch(run, rows) {
  if (!run.order || run.next + rows > run.count) {
    run.order = permutation(run.count, run.shuffling);
    run.next = 0;
  }
  const size = run.data.length / run.count;
  const indices = run.order.subarray(run.next, run.next + rows);
  const x = new run.data.constructor(rows * size);
  indices.forEach((index, row) => {
    x.set(run.data.subarray(index * size, (index + 1) * size), row * size);
  });
  run.next += rows;
  return { x, rows, indices };
}
