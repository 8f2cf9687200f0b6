/** The loss's gradients against central differences, and its terms against their definitions. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  decode, encode, kl, logLikelihood, logSumExp, lossAndGradients, mean, sides, vae,
} from "../../../report/interactive/lab/vae.js";
import { filled, logNormal, near, normalMean, normalNumbers, uniformNumbers }
  from "./lab_support.js";

const ROWS = 3, DATA = 4, H = 1e-5;

function example(likelihood, activation, latent, samples) {
  const random = uniformNumbers(5), normal = normalNumbers(6);
  const sizes = { data: DATA, latent, encoder: 5, decoder: 6 };
  const model = vae(sizes, likelihood, activation, random);
  if (model.logSigma) model.logSigma[0] = -0.4;
  const x = filled(ROWS * DATA, likelihood === "gaussian" ? normal : random);
  return { model, x, eps: filled(ROWS * samples * latent, normal) };
}

for (const likelihood of ["gaussian", "bernoulli"]) {
  for (const activation of ["tanh", "relu"]) {
    test(`gradients are central differences: ${likelihood}, ${activation}`, () => {
      for (const latent of [1, 2]) for (const samples of [1, 2, 3]) {
        for (const noise of [true, false]) for (const beta of [0, 1, 2.5]) {
          checkGradients(example(likelihood, activation, latent, samples), { beta, noise });
        }
      }
    });
  }
}

/** The numbers are fixed, and no hidden unit of them is within H of ReLU's kink. */
function checkGradients({ model, x, eps }, settings) {
  const loss = () => lossAndGradients(model, x, ROWS, eps, settings).loss;
  const { gradients } = lossAndGradients(model, x, ROWS, eps, settings);
  for (const [side, arrays] of Object.entries(sides(model))) {
    assert.equal(gradients[side].length, arrays.length);
    arrays.forEach((array, n) => {
      const slopes = array.map((value, i) => {
        array[i] = value + H;
        const above = loss();
        array[i] = value - H;
        const below = loss();
        array[i] = value;
        return (above - below) / (2 * H);
      });
      near(gradients[side][n], slopes, 1e-8, `${side} ${n} ${JSON.stringify(settings)}`);
    });
  }
}

test("the KL is the mean over q of log q - log p", () => {
  const mu = [0.3, -1.2, 0, 2], logvar = [-1, 0.7, 0, -6];
  const expected = mu.map((m, i) => {
    const sigma = Math.exp(logvar[i] / 2);
    return normalMean((z) => logNormal(z, m, sigma) - logNormal(z, 0, 1), m, sigma);
  });
  near(kl({ mu, logvar }, 4), expected, 1e-12);
  near(kl({ mu, logvar }, 2), [expected[0] + expected[1], expected[2] + expected[3]], 1e-12);
});

test("log p(x|z) is the density's logarithm, and pixels of extreme logits stay finite", () => {
  const gaussian = { logSigma: [Math.log(0.3)] };
  near(logLikelihood(gaussian, [1, 2], [0.5, 2.1], 1),
    [logNormal(1, 0.5, 0.3) + logNormal(2, 2.1, 0.3)], 1e-14);
  const p = 1 / (1 + Math.exp(-1.5));
  near(logLikelihood({ logSigma: null }, [0.2, 1, 0], [1.5, 800, 800], 3),
    [0.2 * Math.log(p) + 0.8 * Math.log(1 - p), 0, -800], 1e-14);
});

test("several samples give minus the log of the mean importance weight", () => {
  const samples = 4, { model, x, eps } = example("gaussian", "tanh", 2, samples);
  const told = lossAndGradients(model, x, ROWS, eps, { beta: 1, noise: true });
  const decoded = decoderByHand(model.decoder, told.z), sigma = Math.exp(model.logSigma[0]);
  const bounds = Array.from({ length: ROWS }, (_, row) => {
    const weights = Array.from({ length: samples }, (_, k) => {
      let log = 0;
      for (let d = 0; d < DATA; d++) {
        log += logNormal(x[row * DATA + d], decoded[row * samples + k][d], sigma);
      }
      for (let i = 0; i < 2; i++) {
        const q = 2 * row + i, z = told.z[(row * samples + k) * 2 + i];
        log += logNormal(z, 0, 1) - logNormal(z, told.mu[q], Math.exp(told.logvar[q] / 2));
      }
      return Math.exp(log);
    });
    return Math.log(weights.reduce((a, b) => a + b) / samples);
  });
  near(told.loss, -bounds.reduce((a, b) => a + b) / ROWS, 1e-12);
});

function decoderByHand({ layers: [hidden, last] }, z) {
  const dense = ({ inputs, outputs, weight, bias }, v) =>
    Array.from({ length: outputs }, (_, out) =>
      v.reduce((sum, value, i) => sum + weight[out * inputs + i] * value, bias[out]));
  return Array.from({ length: z.length / hidden.inputs }, (_, i) => {
    const code = Array.from(z.slice(i * hidden.inputs, (i + 1) * hidden.inputs));
    return dense(last, dense(hidden, code).map(Math.tanh));
  });
}

test("encode and decode give the q, and the output, that the loss is made of", () => {
  const { model, x, eps } = example("gaussian", "tanh", 2, 1);
  const told = lossAndGradients(model, x, ROWS, eps, { beta: 1, noise: true });
  assert.deepEqual(encode(model, x, ROWS), { mu: told.mu, logvar: told.logvar });
  const output = decode(model, told.z, ROWS);
  near(output, decoderByHand(model.decoder, told.z).flat(), 1e-14);
  near(told.reconstruction, -mean(logLikelihood(model, x, output, ROWS)), 1e-14);
});

test("with the noise off z is the mean of q, and the loss does not know eps", () => {
  const { model, x, eps } = example("gaussian", "tanh", 1, 1);
  const told = lossAndGradients(model, x, ROWS, eps, { beta: 1, noise: false });
  assert.deepEqual(told.z, told.mu);
  const other = lossAndGradients(model, x, ROWS, eps.map((e) => e + 1), { beta: 1, noise: false });
  assert.equal(told.loss, other.loss);
});

test("with the noise on z is mu + sigma eps", () => {
  const samples = 3, { model, x, eps } = example("gaussian", "tanh", 2, samples);
  const told = lossAndGradients(model, x, ROWS, eps, { beta: 1, noise: true });
  const expected = [];
  for (let row = 0; row < ROWS; row++) for (let k = 0; k < samples; k++) for (const i of [0, 1]) {
    const q = 2 * row + i, e = eps[(row * samples + k) * 2 + i];
    expected.push(told.mu[q] + Math.sqrt(Math.exp(told.logvar[q])) * e);
  }
  near(told.z, expected, 1e-14);
});

test("one sample's loss is the reconstruction plus beta times the KL", () => {
  for (const beta of [0, 1, 2.5]) {
    const { model, x, eps } = example("bernoulli", "relu", 2, 1);
    const told = lossAndGradients(model, x, ROWS, eps, { beta, noise: true });
    near(told.loss, told.reconstruction + beta * told.kl, 1e-14);
    near(told.kl, mean(kl(told, ROWS)), 1e-14);
  }
});

test("logSumExp neither overflows nor underflows", () => {
  near(logSumExp([1000, 1000]), 1000 + Math.log(2), 1e-15);
  near(logSumExp([-1000, -1000, -5000]), -1000 + Math.log(2), 1e-15);
  near(logSumExp([Math.log(1), Math.log(2), Math.log(4)]), Math.log(7), 1e-15);
});
