/** Random numbers: reproducible, of the right distribution, and in streams that differ. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { normal, permutation, streamSeed, uniform }
  from "../../../report/interactive/shared/random.js";

const take = (random, count) => Array.from({ length: count }, random);

/** The correlation of two lists of numbers. */
function correlation(a, b) {
  const mean = (list) => list.reduce((sum, x) => sum + x, 0) / list.length;
  const centred = (list) => list.map((x) => x - mean(list));
  const dot = (p, q) => p.reduce((sum, x, i) => sum + x * q[i], 0);
  const [p, q] = [a, b].map(centred);
  return dot(p, q) / Math.sqrt(dot(p, p) * dot(q, q));
}

for (const seed of [0, 1, 2 ** 31, 2 ** 32 - 1]) {
  test(`seed ${seed}: uniform numbers lie between 0 and 1, equally many in each tenth`, () => {
    const drawn = take(uniform(seed), 50_000), tenths = Array(10).fill(0);
    assert.ok(drawn.every((x) => x > 0 && x < 1));
    for (const x of drawn) tenths[Math.floor(10 * x)]++;
    const chi2 = tenths.reduce((sum, count) => sum + (count - 5000) ** 2 / 5000, 0);
    assert.ok(chi2 < 27.9, `chi-squared ${chi2}`); // 9 degrees of freedom, 0.1 %
  });

  test(`seed ${seed}: normal numbers have the moments 0, 1, 0, 3`, () => {
    const count = 100_000, drawn = take(normal(seed), count);
    const moment = (k) => drawn.reduce((sum, x) => sum + x ** k, 0) / count;
    const expected = [[1, 0, 1], [2, 1, 2], [3, 0, 15], [4, 3, 96]]; // order, mean, variance
    for (const [k, mean, variance] of expected) {
      assert.ok(Math.abs(moment(k) - mean) < 4 * Math.sqrt(variance / count), `moment ${k}`);
    }
  });
}

test("the same seed draws the same numbers, another seed others", () => {
  for (const make of [uniform, normal]) {
    assert.deepEqual(take(make(3), 100), take(make(3), 100));
    assert.notDeepEqual(take(make(3), 100), take(make(4), 100));
  }
});

test("streams of other names and of other seeds have other seeds, of 32 bits", () => {
  const names = ["weights", "noise", "batches", "shown", "shown images"], seen = new Set();
  for (let seed = 0; seed < 2000; seed++) {
    for (const name of names) seen.add(streamSeed(seed, name));
  }
  assert.equal(seen.size, 2000 * names.length);
  assert.ok([...seen].every((it) => Number.isInteger(it) && it >= 0 && it < 2 ** 32));
  assert.equal(streamSeed(5, "noise"), streamSeed(5, "noise"));
});

test("streams of one seed are not correlated", () => {
  for (let seed = 0; seed < 20; seed++) {
    const [a, b] = ["weights", "noise"].map((name) => take(normal(streamSeed(seed, name)), 10_000));
    assert.ok(Math.abs(correlation(a, b)) < 4 / Math.sqrt(10_000), `seed ${seed}`);
  }
});

test("a permutation holds every number once", () => {
  for (const n of [0, 1, 2, 7, 1000]) {
    const sorted = permutation(n, uniform(n)).sort();
    assert.deepEqual(sorted, Uint32Array.from({ length: n }, (_, i) => i));
  }
});

test("each of the 24 orders of four numbers is as frequent as the others", () => {
  const random = uniform(1), counts = new Map();
  for (let i = 0; i < 24_000; i++) {
    const order = permutation(4, random).join("");
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assert.equal(counts.size, 24);
  const chi2 = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  assert.ok(chi2 < 49.7, `chi-squared ${chi2}`); // 23 degrees of freedom, 0.1 %
});
