/** The two runs on digits: what they share, what differs, and that looking changes nothing. */

import assert from "node:assert/strict";
import { test } from "node:test";
import * as digits from "../../../report/interactive/lab/digits.js";
import { sides } from "../../../report/interactive/lab/vae.js";

const SIZE = 16, SETTINGS = {
  beta: 1, rate: 0.01, batch: 20, samples: 1, noise: true, train: "both", units: 16, seed: 5,
};
const SHOW = { source: "aggregate", shown: 3 };

/** Ten patterns of 16 pixels, each with a few pixels flipped: 240 to train on, 60 held. */
function patterns() {
  let state = 12345;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const drawn = () => Array.from({ length: SIZE }, () => random() < 0.5);
  const ideal = Array.from({ length: 10 }, drawn);
  const set = (count) => {
    const images = new Float32Array(count * SIZE), labels = new Uint8Array(count);
    for (let i = 0; i < count; i++) {
      labels[i] = i % 10;
      ideal[i % 10].forEach((on, k) => (images[i * SIZE + k] = on !== random() < 0.05 ? 1 : 0));
    }
    return { images, labels, count };
  };
  return { train: set(240), held: set(60) };
}

function trained(steps, settings = SETTINGS, meanwhile = () => {}) {
  const state = digits.newDigits(patterns(), settings);
  for (let i = 0; i < steps; i++) {
    digits.stepDigits(state, settings);
    meanwhile(state);
  }
  return state;
}

const weights = (run) => Object.values(sides(run.model)).flat();
const codeLengths = (state, arm) => {
  const codes = digits.heldCodes(state, arm), length = codes.length / 2;
  return Array.from({ length }, (_, i) => Math.hypot(codes[2 * i], codes[2 * i + 1]));
};

test("a file is unpacked into its two sets", () => {
  const images = Array.from({ length: 5 * SIZE }, (_, i) => (7 * i) % 256);
  const labels = [3, 1, 4, 1, 5];
  const bytes = new Uint8Array(99); // the file begins somewhere within its buffer
  bytes.set([3, 0, 0, 0, 2, 0, 0, 0, ...images, ...labels], 6);
  const { train, held } = digits.unpackDigits(bytes.subarray(6));
  assert.equal(train.count, 3);
  assert.equal(held.count, 2);
  assert.deepEqual([...train.labels, ...held.labels], labels);
  const all = Float32Array.from(images, (x) => x / 255);
  assert.deepEqual(train.images, all.slice(0, 3 * SIZE));
  assert.deepEqual(held.images, all.slice(3 * SIZE));
});

test("the examples are the first held image of each digit, in order", () => {
  const data = patterns();
  data.held.labels.reverse(); // 9, 8, ..., 0, 9, ...
  const examples = digits.exampleDigits(data);
  for (let digit = 0; digit < 10; digit++) {
    const first = 9 - digit;
    assert.deepEqual(
      examples.slice(digit * SIZE, (digit + 1) * SIZE),
      data.held.images.slice(first * SIZE, (first + 1) * SIZE),
    );
  }
});

test("the same settings make the same runs to the bit, however often one looks", () => {
  const blind = trained(30);
  const watched = trained(30, SETTINGS, (state) => {
    digits.sampledDigits(state, SHOW);
    digits.reconstructedDigits(state);
    digits.heldCodes(state, state.step % 2);
    digits.latentMap(state, state.step % 2);
    digits.digitStrip(state, { from: 2, to: 7 });
  });
  blind.runs.forEach((run, arm) => assert.deepEqual(weights(run), weights(watched.runs[arm])));
  assert.deepEqual(blind.losses, watched.losses);
  assert.deepEqual(digits.sampledDigits(blind, SHOW), digits.sampledDigits(watched, SHOW));
});

test("another seed makes other runs", () => {
  const [one, other] = [5, 6].map((seed) => trained(3, { ...SETTINGS, seed }));
  assert.notDeepEqual(weights(one.runs[1]), weights(other.runs[1]));
});

test("both runs begin with the same weights and see the same images and noise", () => {
  const begun = trained(0);
  assert.deepEqual(weights(begun.runs[0]), weights(begun.runs[1]));
  trained(15, SETTINGS, ({ runs: [one, other] }) => {
    assert.deepEqual(one.last.indices, other.last.indices);
    assert.deepEqual(one.last.eps, other.last.eps);
  });
});

test("both decoders get the same draws, from the prior and from the codes", () => {
  const state = trained(20);
  state.runs[0].model = state.runs[1].model; // one decoder makes one picture of one z
  for (const source of ["prior", "aggregate"]) {
    const both = digits.sampledDigits(state, { source, shown: 3 });
    assert.deepEqual(both.slice(0, both.length / 2), both.slice(both.length / 2));
  }
});

test("z from the codes is mu + sigma eps", () => {
  const state = trained(0);
  for (const { model } of state.runs) {
    const [first, last] = model.encoder.layers;
    for (const array of [first.weight, first.bias, last.weight]) array.fill(0);
    last.bias.set([1, -1, Math.log(4), 0]); // mu = 1 and sigma = 2 in the first latent
    const [below, above] = model.decoder.layers; // all logits are the first latent
    for (const { weight } of [below, above]) weight.fill(0);
    below.weight[0] = 1;
    below.bias.fill(0)[0] = 100; // so that ReLU lets it pass
    for (let i = 0; i < SIZE; i++) above.weight[i * SETTINGS.units] = 1;
    above.bias.fill(-100);
  }
  const count = 4000, all = digits.sampledDigits(state, SHOW, count);
  const z = Array.from({ length: count }, (_, i) => Math.log(all[i * SIZE] / (1 - all[i * SIZE])));
  const average = z.reduce((sum, each) => sum + each) / count;
  const spread = Math.sqrt(z.reduce((sum, each) => sum + (each - average) ** 2, 0) / count);
  assert.ok(Math.abs(average - 1) < 0.15, `${average}`); // 4.7 standard errors
  assert.ok(Math.abs(spread - 2) < 0.15, `${spread}`);
});

test("samples depend on their seed and on where z comes from", () => {
  const state = trained(20), of = (source, shown) => digits.sampledDigits(state, { source, shown });
  assert.notDeepEqual(of("prior", 3), of("prior", 4));
  assert.notDeepEqual(of("prior", 3), of("aggregate", 3));
  assert.notDeepEqual(of("aggregate", 3), of("aggregate", 4));
});

test("without the KL codes leave the prior and their KL grows; with it both stay", () => {
  const [early, late] = [100, 800].map((steps) => trained(steps));
  assert.ok(late.losses[0].smoothKl > 1.5 * early.losses[0].smoothKl, "KL of BCE only grows");
  assert.ok(late.losses[0].smoothKl > 3 * late.losses[1].smoothKl, "and is far above the VAE's");
  assert.ok(late.losses[1].smoothKl < 5, "KL of the VAE stays bounded");
  const farther = (arm) => codeLengths(late, arm).filter((length) => length > 3).length;
  assert.ok(farther(0) > 20, "a third of the codes or more lie outside");
  assert.ok(farther(1) <= 3, "hardly a code of the VAE does");
});

test("the first run has no use for beta, and the second has from the next step on", () => {
  const state = trained(10), same = trained(10), strong = { ...SETTINGS, beta: 4 };
  for (const run of state.runs) assert.ok(run.step === 10);
  digits.stepDigits(state, strong);
  digits.stepDigits(same, SETTINGS);
  assert.deepEqual(weights(state.runs[0]), weights(same.runs[0]));
  assert.notDeepEqual(weights(state.runs[1]), weights(same.runs[1]));
  assert.deepEqual(state.losses, same.losses, "what a step computes comes before its update");
});

test("a batch of another size is seen from the next step on, and counted", () => {
  const state = trained(4);
  digits.stepDigits(state, { ...SETTINGS, batch: 7 });
  assert.equal(state.seen, 4 * 20 + 7);
  assert.equal(state.runs[0].last.rows, 7);
});

test("losses are those of the last step, and running means lie between the extremes", () => {
  const seen = [];
  const state = trained(40, SETTINGS, ({ losses }) => seen.push(losses[1].bce));
  const { last } = state.runs[1], { bce, kl, smoothBce } = state.losses[1];
  assert.deepEqual([bce, kl], [last.reconstruction, last.kl]);
  assert.ok(smoothBce > Math.min(...seen) && smoothBce < Math.max(...seen));
  assert.equal(trained(1).losses[1].smoothBce, seen[0]);
});

test("cells of the map lie at the prior's quantiles", () => {
  // tables of the normal distribution: the shares 0.025, 0.05, 0.25, 0.5
  assert.ok(Math.abs(digits.priorQuantiles(20)[0] + 1.959963984540) < 1e-8);
  assert.ok(Math.abs(digits.priorQuantiles(10)[0] + 1.644853626951) < 1e-8);
  assert.ok(Math.abs(digits.priorQuantiles(2)[0] + 0.674489750196) < 1e-8);
  assert.ok(Math.abs(digits.priorQuantiles(1)[0]) < 1e-8);
});
