/** A run: its random streams, its batches, and what a step changes. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { points } from "../../../report/interactive/lab/datasets.js";
import { gaps, onGrid } from "../../../report/interactive/lab/exact.js";
import { advance, LEAST_SIGMA, newRun } from "../../../report/interactive/lab/training.js";
import { encode, sides } from "../../../report/interactive/lab/vae.js";

const SIZES = { data: 2, latent: 1, encoder: 8, decoder: 8 };
const ABOUT = { sizes: SIZES, likelihood: "gaussian", activation: "tanh", seed: 3, sigma: 0.3 };
const SETTINGS = { beta: 1, rate: 0.01, batch: 30, samples: 1, noise: true, train: "both" };

const start = (about = {}) => newRun({ ...ABOUT, ...about }, points("moons", 1));
const weights = (run) => structuredClone(sides(run.model));

function after(steps, run, settings = {}) {
  for (let i = 0; i < steps; i++) advance(run, { ...SETTINGS, ...settings });
  return run;
}

test("the same seed gives the same run to the bit, and another seed another", () => {
  const run = after(40, start());
  assert.deepEqual(weights(after(40, start())), weights(run));
  assert.notDeepEqual(weights(after(40, start({ seed: 4 }))), weights(run));
  assert.equal(run.step, 40);
});

test("what is asked of a run between its steps does not change it", () => {
  const run = after(40, start()), disturbed = start(), other = start();
  for (let i = 0; i < 40; i++) {
    const x = disturbed.data.slice(0, 6), { mu, logvar } = encode(disturbed.model, x, 3);
    const there = onGrid(disturbed.model, x, 3, mu);
    gaps(disturbed.model, there, 1, x.subarray(2, 4), mu[1], logvar[1]);
    after(1, other, { samples: 3 });
    after(1, disturbed);
  }
  assert.deepEqual(weights(disturbed), weights(run));
});

test("every row comes at most once per epoch, and all come when batches divide the data", () => {
  for (const batch of [1, 30, 50, 399, 400, 1000]) {
    const run = start(), rows = Math.min(batch, 400), perEpoch = Math.floor(400 / rows);
    for (let epoch = 0; epoch < 3; epoch++) {
      const seen = new Set();
      for (let i = 0; i < perEpoch; i++) {
        after(1, run, { batch });
        assert.equal(run.last.rows, rows);
        for (const index of run.last.indices) seen.add(index);
      }
      assert.equal(seen.size, perEpoch * rows, `batch ${batch}, epoch ${epoch}`);
    }
  }
});

test("epochs have different orders, and a batch holds the rows that its indices name", () => {
  const run = start(), orders = [];
  for (let epoch = 0; epoch < 3; epoch++) {
    orders.push(Array.from(after(1, run, { batch: 400 }).last.indices).join());
    run.last.indices.forEach((index, row) => {
      const own = run.data.subarray(2 * index, 2 * index + 2);
      assert.deepEqual(run.last.x.subarray(2 * row, 2 * row + 2), own);
    });
  }
  assert.equal(new Set(orders).size, 3);
});

test("a batch size that changes within an epoch repeats no row", () => {
  const run = start(), seen = [];
  for (const batch of [100, 7, 250, 43]) {
    seen.push(...after(1, run, { batch }).last.indices);
  }
  assert.equal(new Set(seen).size, 400);
});

for (const train of ["encoder", "decoder", "both"]) {
  test(`training ${train} changes nothing else`, () => {
    const run = start(), before = weights(run);
    after(5, run, { train });
    const now = weights(run);
    for (const side of ["encoder", "decoder"]) {
      const isTrained = train === "both" || train === side;
      before[side].forEach((array, n) => {
        (isTrained ? assert.notDeepEqual : assert.deepEqual)(now[side][n], array, `${side} ${n}`);
      });
      assert.equal(run.optimisers[side].steps, isTrained ? 5 : 0);
    }
  });
}

test("a step's noise has a number per row, sample and latent, about standard normal", () => {
  const run = start({ sizes: { ...SIZES, latent: 2 } }), all = [];
  for (let i = 0; i < 50; i++) {
    after(1, run, { samples: 5 });
    assert.equal(run.last.eps.length, 30 * 5 * 2);
    all.push(...run.last.eps);
  }
  const average = (values) => values.reduce((a, b) => a + b) / values.length;
  assert.ok(Math.abs(average(all)) < 5 / Math.sqrt(all.length));
  assert.ok(Math.abs(average(all.map((e) => e * e)) - 1) < 5 * Math.sqrt(2 / all.length));
  assert.equal(new Set(all).size, all.length);
});

test("the step's loss is computed with the width that was asked for, and leaves it so", () => {
  for (const fixedSigma of [0.05, 0.5, 1.5]) {
    const run = after(3, start(), { fixedSigma });
    assert.equal(run.model.logSigma[0], Math.log(fixedSigma));
  }
  const wide = after(1, start(), { fixedSigma: 1.5 }).last.loss;
  assert.equal(wide, after(1, start({ sigma: 1.5 })).last.loss);
});

test("a learnt width moves from where it began, and not below the least", () => {
  assert.equal(start().model.logSigma[0], Math.log(0.3));
  assert.equal(start({ sigma: undefined }).model.logSigma[0], Math.log(0.5));
  assert.notEqual(after(1, start()).model.logSigma[0], Math.log(0.3));
  const one = newRun({ ...ABOUT, sigma: 0.1 }, Float64Array.of(1, 1, 1, 1));
  for (let i = 0; i < 400; i++) advance(one, { ...SETTINGS, rate: 0.03, batch: 2 });
  assert.equal(one.model.logSigma[0], Math.log(LEAST_SIGMA));
});

test("training lowers the loss", () => {
  const run = start(), losses = [];
  for (let i = 0; i < 300; i++) losses.push(after(1, run).last.loss);
  const average = (values) => values.reduce((a, b) => a + b) / values.length;
  assert.ok(average(losses.slice(-50)) < average(losses.slice(0, 50)) - 0.5);
});

test("digits run in single precision, with no width of their own", () => {
  const about = { sizes: { data: 9, latent: 2, encoder: 5, decoder: 5 }, likelihood: "bernoulli" };
  const data = Float32Array.from({ length: 90 }, (_, i) => (i % 7) / 7);
  const run = after(3, newRun({ ...ABOUT, ...about }, data), { batch: 4 });
  assert.equal(run.model.logSigma, null);
  const arrays = Object.values(sides(run.model)).flat();
  assert.ok(arrays.every((array) => array instanceof Float32Array));
  assert.ok(arrays.every((array) => array.every(Number.isFinite)));
});
