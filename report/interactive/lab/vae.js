/**
 * The variational autoencoder of the lab: encoder, noise, decoder, loss, and the loss's gradients.
 *
 * Sizes: `rows` images or points `x` of `D` numbers, `L` latent numbers, `K` importance samples.
 * Everything is in nats per row.
 */

import { network, parameters, forward, backward } from "./network.js";

const LOG_2PI = Math.log(2 * Math.PI);

/**
 * A model with initial weights.
 *
 * @param sizes {data, latent, encoder, decoder}: numbers per row, latents, hidden units per side
 * @param likelihood "bernoulli", or "gaussian" with one standard deviation, learnt as its logarithm
 * @param random a function of uniform numbers in (0, 1)
 */
export function vae(sizes, likelihood, activation, random, Kind = Float64Array) {
  const { data, latent } = sizes;
  return {
    likelihood,
    latent,
    encoder: network([data, sizes.encoder, 2 * latent], activation, random, Kind),
    decoder: network([latent, sizes.decoder, data], activation, random, Kind),
    logSigma: likelihood === "gaussian" ? new Kind(1) : null,
  };
}

/** The arrays that training changes, of each side. The decoder's sigma is one of its parameters. */
export function sides({ encoder, decoder, logSigma }) {
  return {
    encoder: parameters(encoder),
    decoder: logSigma ? [...parameters(decoder), logSigma] : parameters(decoder),
  };
}

/** The mean and the log variance of q(z|x) for each row, each `[rows, L]`. */
export function encode(model, x, rows) {
  return split(forward(model.encoder, x, rows).at(-1), rows, model.latent);
}

function split(output, rows, latent) {
  const mu = new output.constructor(rows * latent), logvar = new output.constructor(rows * latent);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < latent; i++) {
      mu[row * latent + i] = output[row * 2 * latent + i];
      logvar[row * latent + i] = output[row * 2 * latent + latent + i];
    }
  }
  return { mu, logvar };
}

/** What the decoder makes of z, `[rows, D]`: means of a Gaussian, or logits of Bernoulli pixels. */
export function decode(model, z, rows) {
  return forward(model.decoder, z, rows).at(-1);
}

/** KL(q(z|x) || N(0, I)) of each row: Kingma & Welling, Appendix B. */
export function kl({ mu, logvar }, rows) {
  const latent = mu.length / rows;
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = row * latent; i < (row + 1) * latent; i++) {
      sum += 0.5 * (mu[i] ** 2 + Math.exp(logvar[i]) - 1 - logvar[i]);
    }
    return sum;
  });
}

/** log p(x|z) of each row. */
export function logLikelihood(model, x, output, rows) {
  const size = x.length / rows;
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = row * size; i < (row + 1) * size; i++) {
      sum += model.logSigma
        ? gaussian(x[i], output[i], model.logSigma[0])
        : bernoulli(x[i], output[i]);
    }
    return sum;
  });
}

function gaussian(x, mean, logSigma) {
  return -0.5 * ((x - mean) * Math.exp(-logSigma)) ** 2 - logSigma - 0.5 * LOG_2PI;
}

/** Also of grey pixels in [0, 1]: minus the cross-entropy, and no log probability. */
function bernoulli(x, logit) {
  return x * logit - Math.max(logit, 0) - Math.log1p(Math.exp(-Math.abs(logit)));
}

/**
 * The loss of a batch, the mean over its rows, and its gradients.
 *
 * With one sample: -log p(x|z) + beta KL(q || p), the KL in closed form. With more: minus the
 * logarithm of the mean importance weight (Burda et al., 2016), whose log weights are
 * log p(x|z) + beta (log p(z) - log q(z|x)).
 *
 * @param x `[rows, D]`
 * @param eps standard normal numbers, `[rows, K, L]`
 * @param settings beta; noise: false for z = mu
 * @returns loss, reconstruction (-log p(x|z), the mean of the samples) and kl, in nats per row;
 *   gradients, which has an array for each array of `sides`; and mu, logvar and z
 */
export function lossAndGradients(model, x, rows, eps, { beta, noise }) {
  const { latent } = model, samples = eps.length / (rows * latent), all = rows * samples;
  const Kind = x.constructor;
  const encoded = forward(model.encoder, x, rows);
  const { mu, logvar } = split(encoded.at(-1), rows, latent);
  const z = reparameterize(mu, logvar, eps, samples, latent, noise);
  const repeated = samples === 1 ? x : repeat(x, rows, samples);
  const decoded = forward(model.decoder, z, all);
  const likelihood = logLikelihood(model, repeated, decoded.at(-1), all);
  const divergence = kl({ mu, logvar }, rows);

  // with samples that are all the same there is nothing to weigh
  const weighted = samples > 1 && noise;
  const ratio = weighted ? logRatio(z, logvar, eps, samples, latent) : null;
  const { weights, bound } = weighted
    ? weigh(likelihood.map((each, i) => each + beta * ratio[i]), rows, samples)
    : { weights: new Float64Array(all).fill(1 / samples), bound: null };

  const slope = outputSlope(model, repeated, decoded.at(-1), weights, rows);
  const { gradients: decoder, below } = backward(model.decoder, decoded, all, slope);
  if (model.logSigma) {
    decoder.push(Kind.of(sigmaSlope(model, repeated, decoded.at(-1), weights, rows)));
  }

  const above = new Kind(rows * 2 * latent);
  for (let i = 0; i < all * latent; i++) {
    const sample = Math.floor(i / latent), row = Math.floor(sample / samples), k = i % latent;
    const q = row * latent + k, weight = weights[sample] / rows;
    const byZ = below[i] + (weighted ? weight * beta * z[i] : 0);
    const spread = noise ? 0.5 * Math.exp(0.5 * logvar[q]) * eps[i] : 0;
    above[row * 2 * latent + k] += byZ;
    above[row * 2 * latent + latent + k] += byZ * spread - (weighted ? 0.5 * weight * beta : 0);
  }
  if (!weighted) {
    for (let q = 0; q < rows * latent; q++) {
      const row = Math.floor(q / latent), k = q % latent;
      above[row * 2 * latent + k] += (beta * mu[q]) / rows;
      above[row * 2 * latent + latent + k] += (beta * 0.5 * (Math.exp(logvar[q]) - 1)) / rows;
    }
  }
  const { gradients: encoder } = backward(model.encoder, encoded, rows, above, false);

  const reconstruction = -mean(likelihood), own = mean(divergence);
  const loss = weighted ? -mean(bound) : reconstruction + beta * own;
  return { loss, reconstruction, kl: own, gradients: { encoder, decoder }, mu, logvar, z };
}

/** z = mu + sigma eps, `[rows, K, L]`. */
function reparameterize(mu, logvar, eps, samples, latent, noise) {
  return mu.constructor.from({ length: eps.length }, (_, i) => {
    const q = Math.floor(i / (samples * latent)) * latent + (i % latent);
    return noise ? mu[q] + Math.exp(0.5 * logvar[q]) * eps[i] : mu[q];
  });
}

function repeat(x, rows, samples) {
  const size = x.length / rows, all = new x.constructor(x.length * samples);
  for (let i = 0; i < rows * samples; i++) {
    const row = Math.floor(i / samples);
    all.set(x.subarray(row * size, (row + 1) * size), i * size);
  }
  return all;
}

/** log p(z) - log q(z|x) of each sample, at z = mu + sigma eps. */
function logRatio(z, logvar, eps, samples, latent) {
  return Float64Array.from({ length: z.length / latent }, (_, sample) => {
    const row = Math.floor(sample / samples);
    let sum = 0;
    for (let k = 0; k < latent; k++) {
      const i = sample * latent + k;
      sum += 0.5 * (eps[i] ** 2 - z[i] ** 2 + logvar[row * latent + k]);
    }
    return sum;
  });
}

/** The weights of each row's samples, of sum 1, and the logarithm of their mean before that. */
function weigh(logWeights, rows, samples) {
  const weights = new Float64Array(rows * samples), bound = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    const own = logWeights.subarray(row * samples, (row + 1) * samples);
    const total = logSumExp(own);
    own.forEach((each, k) => (weights[row * samples + k] = Math.exp(each - total)));
    bound[row] = total - Math.log(samples);
  }
  return { weights, bound };
}

/** The logarithm of the sum of exponentials, without overflow. */
export function logSumExp(values) {
  let top = -Infinity, sum = 0;
  for (let i = 0; i < values.length; i++) if (values[i] > top) top = values[i];
  for (let i = 0; i < values.length; i++) sum += Math.exp(values[i] - top);
  return top + Math.log(sum);
}

/** The mean of some numbers: of a batch's rows, for instance. */
export function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** The loss's derivative by the decoder's output, `[rows * K, D]`. */
function outputSlope(model, x, output, weights, rows) {
  const size = x.length / weights.length;
  const precision = model.logSigma ? Math.exp(-2 * model.logSigma[0]) : 0;
  const slope = new x.constructor(x.length);
  for (let i = 0; i < x.length; i++) {
    const weight = weights[Math.floor(i / size)] / rows;
    const residual = model.logSigma
      ? precision * (output[i] - x[i])
      : 1 / (1 + Math.exp(-output[i])) - x[i];
    slope[i] = weight * residual;
  }
  return slope;
}

/** The loss's derivative by the logarithm of the decoder's standard deviation. */
function sigmaSlope(model, x, output, weights, rows) {
  const size = x.length / weights.length, precision = Math.exp(-2 * model.logSigma[0]);
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    const weight = weights[Math.floor(i / size)] / rows;
    sum += weight * (1 - precision * (x[i] - output[i]) ** 2);
  }
  return sum;
}
