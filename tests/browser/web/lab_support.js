/** What the lab's tests share: random numbers of their own, and comparisons. */

import assert from "node:assert/strict";

/** Uniform numbers in (0, 1) from a seed: a multiplicative congruential generator. */
export function uniformNumbers(seed) {
  let state = (seed * 7919 + 12345) % 2147483647;
  return () => {
    state = (state * 16807) % 2147483647;
    return state / 2147483647;
  };
}

/** Approximately standard normal numbers: the sum of twelve uniform ones, less six. */
export function normalNumbers(seed) {
  const random = uniformNumbers(seed);
  return () => Array.from({ length: 12 }, random).reduce((a, b) => a + b) - 6;
}

export const filled = (length, next, Kind = Float64Array) => Kind.from({ length }, () => next());

/** Both numbers, or all numbers of two arrays, agree within a part of their size, at least 1. */
export function near(actual, expected, within, about = "") {
  const pairs = expected.length === undefined ? [[actual, expected]] : zip(actual, expected);
  for (const [i, [a, b]] of pairs.entries()) {
    const isNear = Math.abs(a - b) <= within * Math.max(1, Math.abs(b));
    assert.ok(isNear, `${about} [${i}]: ${a}, expected ${b} within ${within}`);
  }
}

function zip(left, right) {
  assert.equal(left.length, right.length);
  return Array.from(right, (b, i) => [left[i], b]);
}

/** A mean over a normal distribution by a fine sum, far beyond where it matters. */
export function normalMean(f, mu, sigma, points = 1201) {
  let sum = 0, weight = 0;
  for (let i = 0; i < points; i++) {
    const u = -9 + (18 * i) / (points - 1), w = Math.exp(-0.5 * u * u);
    sum += w * f(mu + sigma * u);
    weight += w;
  }
  return sum / weight;
}

export const logNormal = (x, mean, sigma) =>
  -0.5 * ((x - mean) / sigma) ** 2 - Math.log(sigma) - 0.5 * Math.log(2 * Math.PI);
