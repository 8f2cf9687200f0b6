/** log p(x), posteriors, best Gaussians and gaps, against closed forms and brute force. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { bestGaussian, elbo, gaps, grid, hills, logEvidence, onGrid, posterior }
  from "../../../report/interactive/lab/exact.js";
import { vae } from "../../../report/interactive/lab/vae.js";
import { logNormal, near, normalMean, normalNumbers, uniformNumbers } from "./lab_support.js";

/**
 * A decoder that is a straight line, exactly: hidden units relu(z + 99) and relu(99 - z), of which
 * z is half of the difference.
 */
function straight(slope, start, sigma) {
  const layer = (inputs, outputs, weight, bias) =>
    ({ inputs, outputs, weight: Float64Array.from(weight), bias: Float64Array.from(bias) });
  const hidden = layer(1, 2, [1, -1], [99, 99]);
  const last = layer(2, slope.length, slope.flatMap((each) => [each / 2, -each / 2]), start);
  return modelOf({ layers: [hidden, last], activation: "relu" }, sigma);
}

const modelOf = (decoder, sigma) =>
  ({ likelihood: "gaussian", latent: 1, decoder, logSigma: Float64Array.of(Math.log(sigma)) });

/** log p(x) and the posterior of a straight decoder (Bishop, 2006, equations 2.113 to 2.117). */
function closedForm(slope, start, sigma, x) {
  const s2 = sigma ** 2, a2 = slope.reduce((sum, a) => sum + a * a, 0);
  const residual = x.map((each, d) => each - start[d]);
  const along = residual.reduce((sum, r, d) => sum + r * slope[d], 0);
  const square = residual.reduce((sum, r) => sum + r * r, 0);
  const distance = (square - along ** 2 / (s2 + a2)) / s2; // Woodbury
  const determinant = s2 ** (x.length - 1) * (s2 + a2);
  const evidence = -0.5 * (distance + Math.log(determinant) + x.length * Math.log(2 * Math.PI));
  return { evidence, mu: along / (s2 + a2), variance: s2 / (s2 + a2) };
}

const LINES = [
  [[1.2, -0.7], [0.1, 0.4], 0.5, [0.3, -1.1]],
  [[0.4, 0.1], [0, 0], 1.5, [2, 2]],
  [[0, 0], [0.2, 0.1], 0.7, [1, -1]],
  [[2, 1], [0, 0], 0.08, [1.5, 0.8]],
  [[3, 2], [0, 0], 0.05, [2, 1.5]],
  [[0.3, 0], [0, 0], 0.05, [2.4, 0.1]], // its posterior is around 7.8
];

test("of a straight decoder log p(x), posterior and best Gaussian are the closed forms", () => {
  for (const [slope, start, sigma, x] of LINES) {
    const model = straight(slope, start, sigma), expected = closedForm(slope, start, sigma, x);
    const there = onGrid(model, Float64Array.from(x), 1, [0]), [joint] = there.joints;
    assert.ok(there.isFine);
    near(logEvidence(joint, there.step), expected.evidence, 1e-9, `evidence, ${slope}`);
    const density = posterior(joint, there.step);
    const sd = Math.sqrt(expected.variance);
    const exact = Array.from(there.z, (z) => Math.exp(logNormal(z, expected.mu, sd)));
    near(density, exact, 1e-7, `posterior, ${slope}`);
    const best = bestGaussian(joint, there, [[0, 0], ...hills(joint, there)]);
    near(best.mu, expected.mu, 1e-6);
    near(best.logvar, Math.log(expected.variance), 1e-5);
    near(best.gap, 0, 1e-7);
  }
});

test("of a straight decoder the gap is KL(q || posterior), all of it amortisation", () => {
  const qs = [[0, 0], [1, -2], [-2, 1], [0.4, -8], [5, -3], [0, -20], [30, -4], [-0.5, 2.5]];
  let checked = 0;
  for (const [slope, start, sigma, x] of LINES) for (const [mu, logvar] of qs) {
    const model = straight(slope, start, sigma), point = Float64Array.from(x);
    const there = onGrid(model, point, 1, [mu]);
    if (!there.isFine) continue; // a code far out, and the narrowest posterior
    const known = gaps(model, there, 0, point, mu, logvar);
    checked += 1;
    const { mu: m, variance: v, evidence } = closedForm(slope, start, sigma, x);
    const expected = 0.5 * ((Math.exp(logvar) + (mu - m) ** 2) / v - 1 + Math.log(v) - logvar);
    near(known.evidence, evidence, 1e-9);
    near(known.elbo, evidence - expected, 1e-7, `q ${mu} ${logvar}, ${slope}`);
    near(known.approximation, 0, 1e-7);
    near(known.amortisation, expected, 1e-7);
  }
  assert.equal(checked, LINES.length * qs.length - 1);
});

// ---- Curved decoders ----------------------------------------------------------------------------

/** A random curve, a point near it or not, and a q that fits it or not. */
function example(seed, { wiggle = 2, sigma = 0.2 } = {}) {
  const random = uniformNumbers(seed), normal = normalNumbers(seed + 1);
  const model = vae({ data: 2, latent: 1, encoder: 2, decoder: 12 }, "gaussian", "tanh", random);
  const [hidden, last] = model.decoder.layers;
  hidden.weight.forEach((_, i) => (hidden.weight[i] = wiggle * normal()));
  hidden.bias.forEach((_, i) => (hidden.bias[i] = wiggle * normal()));
  last.weight.forEach((_, i) => (last.weight[i] = 0.6 * normal()));
  model.logSigma[0] = Math.log(sigma);
  return { model, point: Float64Array.of(normal(), normal()), normal };
}

/** log p(x, z), by hand. */
function joint({ decoder: { layers: [hidden, last] }, logSigma }, point, z) {
  let log = logNormal(z, 0, 1);
  for (let d = 0; d < point.length; d++) {
    let mean = last.bias[d];
    for (let i = 0; i < hidden.outputs; i++) {
      const unit = Math.tanh(hidden.weight[i] * z + hidden.bias[i]);
      mean += last.weight[d * hidden.outputs + i] * unit;
    }
    log += logNormal(point[d], mean, Math.exp(logSigma[0]));
  }
  return log;
}

/** log p(x) from 8,001 places between -16 and 16. */
function evidenceByHand(model, point) {
  const step = 32 / 8000;
  const all = Float64Array.from({ length: 8001 }, (_, i) => joint(model, point, i * step - 16));
  const top = all.reduce((a, b) => Math.max(a, b));
  return top + Math.log(all.reduce((sum, each) => sum + Math.exp(each - top), 0) * step);
}

const boundByHand = (model, point, mu, logvar) => {
  const sigma = Math.exp(logvar / 2);
  return normalMean((z) => joint(model, point, z) - logNormal(z, mu, sigma), mu, sigma);
};

const WORLDS = [
  {}, { sigma: 1.5 }, { sigma: 0.08 }, { wiggle: 0.5 }, { wiggle: 6, sigma: 0.3 }, { wiggle: 0 },
];

test("of curved decoders log p(x), ELBO and KL(q || posterior) are fine sums", () => {
  for (let seed = 1; seed <= 6; seed++) for (const world of WORLDS) {
    const { model, point, normal } = example(seed, world);
    const evidence = evidenceByHand(model, point);
    for (const logvar of [-12, -4, -1, 0, 1]) {
      const mu = normal(), sigma = Math.exp(logvar / 2);
      const about = JSON.stringify({ seed, ...world, mu, logvar });
      const known = gaps(model, onGrid(model, point, 1, [mu]), 0, point, mu, logvar);
      const bound = boundByHand(model, point, mu, logvar);
      const posterior = (z) => joint(model, point, z) - evidence;
      const kl = normalMean((z) => logNormal(z, mu, sigma) - posterior(z), mu, sigma);
      near(known.evidence, evidence, 1e-6, `evidence ${about}`);
      near(known.elbo, bound, 1e-4, `ELBO ${about}`);
      near(known.approximation + known.amortisation, kl, 1e-4, `gap ${about}`);
      near(elbo(model, point, mu, logvar), bound, 1e-5, `elbo() ${about}`);
    }
  }
});

test("posteriors integrate to 1", () => {
  for (let seed = 1; seed <= 8; seed++) for (const world of WORLDS) {
    const { model, point } = example(seed, world);
    const there = onGrid(model, point, 1, [0]);
    near(posterior(there.joints[0], there.step).reduce((a, b) => a + b) * there.step, 1, 1e-12);
  }
});

test("no Gaussian of a brute-force search is nearer to the posterior than the best one", () => {
  let several = 0;
  const worlds = [{}, { sigma: 0.5 }, { wiggle: 5, sigma: 0.4 }];
  for (let seed = 1; seed <= 30; seed++) for (const world of worlds) {
    const { model, point, normal } = example(seed, world);
    const there = onGrid(model, point, 1, [0]), [own] = there.joints;
    several += hills(own, there).length > 1;
    const best = bestGaussian(own, there, [[normal(), normal() - 1], ...hills(own, there)]);
    const found = search(own, there);
    const about = JSON.stringify({ seed, ...world, gap: best.gap, found });
    assert.ok(best.gap <= found + 1e-4, about);
    const bound = boundByHand(model, point, best.mu, best.logvar);
    near(best.gap, logEvidence(own, there.step) - bound, 1e-5, about);
  }
  assert.ok(several > 10);
});

/** The least KL(q || posterior) of a lattice of means and widths, made finer around the best. */
function search(own, { z, step }) {
  const evidence = logEvidence(own, step);
  const divergence = (mu, logSigma) => {
    let sum = 0, weight = 0;
    for (let i = 0; i < z.length; i++) {
      const w = Math.exp(-0.5 * ((z[i] - mu) / Math.exp(logSigma)) ** 2);
      sum += w * own[i];
      weight += w;
    }
    return evidence - 0.5 * Math.log(2 * Math.PI * Math.E) - logSigma - sum / weight;
  };
  let best = { value: Infinity };
  const consider = (mu, s) => {
    const value = divergence(mu, s);
    if (value < best.value) best = { mu, s, value };
  };
  const narrowest = Math.log(step);
  for (let mu = -4; mu <= 4; mu += 0.1) {
    for (let s = narrowest; s < 0.3; s += 0.15) consider(mu, s);
  }
  for (let wide = 0.1; wide > 1e-4; wide /= 2) {
    for (const a of [-1, 0, 1]) for (const b of [-1, 0, 1]) {
      consider(best.mu + a * wide, Math.max(best.s + b * wide, narrowest));
    }
  }
  return best.value;
}

test("neither part of a gap is negative, whatever the q, the code and the decoder", () => {
  for (let seed = 1; seed <= 40; seed++) for (const world of WORLDS) {
    const { model, point, normal } = example(seed, world);
    for (const logvar of [-18, -9, -3, 0, 1.5, 20]) {
      const mu = 10 ** (seed % 3) * normal() * 0.5;
      const known = gaps(model, onGrid(model, point, 1, [mu]), 0, point, mu, logvar);
      const about = JSON.stringify({ seed, ...world, mu, logvar, ...known });
      assert.ok(known.approximation >= -1e-9 && known.amortisation >= -1e-9, about);
      near(known.evidence - known.elbo, known.approximation + known.amortisation, 1e-9, about);
      assert.ok(Number.isFinite(known.elbo) && known.elbo <= known.evidence + 1e-9, about);
    }
  }
});

test("the best Gaussian does not know which q the encoder gives", () => {
  let far = 0;
  for (let seed = 1; seed <= 40; seed++) for (const world of WORLDS) {
    const { model, point } = example(seed, world);
    const at = [[0, 0], [2, -6], [-3, 1]].map(([mu, logvar]) =>
      gaps(model, onGrid(model, point, 1, [0]), 0, point, mu, logvar).approximation);
    far = Math.max(far, Math.max(...at) - Math.min(...at));
  }
  assert.ok(far < 1e-4, `${far}`);
});

test("a collapsed model's q is its posterior, and its bound is tight", () => {
  const { model, point } = example(3, { wiggle: 0, sigma: 1 });
  const known = gaps(model, onGrid(model, point, 1, [0]), 0, point, 0, 0);
  near(known.elbo, known.evidence, 1e-8);
  near(known.best.mu, 0, 1e-5);
  near(known.best.logvar, 0, 1e-5);
});

test("the grid is finer for narrow posteriors, wider for codes far out, or says if not", () => {
  const line = (sigma) => straight([2, 1], [0, 0], sigma), x = Float64Array.of(1, 0.5);
  assert.ok(onGrid(line(0.03), x, 1, [0]).z.length > onGrid(line(0.5), x, 1, [0]).z.length);
  assert.ok(onGrid(line(0.5), x, 1, [-40]).z.at(-1) >= 42);
  assert.equal(onGrid(line(0.5), x, 1, [0]).isFine, true);
  assert.equal(onGrid(line(1e-4), x, 1, [0]).isFine, false);
});

test("a grid has equal steps from end to end", () => {
  const { z, step } = grid(3, 7);
  near(z, [-3, -2, -1, 0, 1, 2, 3], 1e-15);
  assert.equal(step, 1);
});

test("hills are found by height, with the width that their curvature gives", () => {
  const { z, step } = grid(6, 2001);
  const two = z.map((each) => Math.log(
    0.3 * Math.exp(logNormal(each, -2, 0.3)) + 0.7 * Math.exp(logNormal(each, 1, 0.5))));
  const found = hills(two, { z, step });
  near(found.flat(), [1, Math.log(0.25), -2, Math.log(0.09)], 0.01);
});
