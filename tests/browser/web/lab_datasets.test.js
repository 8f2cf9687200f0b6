/** The shapes of the toy world, and drawn points as text. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { fromText, NAMES, points, POINTS, snapped, toText }
  from "../../../report/interactive/lab/datasets.js";
import { filled, uniformNumbers } from "./lab_support.js";

const SHAPES = NAMES.filter((name) => name !== "drawn");

for (const name of SHAPES) {
  test(`${name}: 400 points, the same for the same seed, others for another`, () => {
    const all = points(name, 3);
    assert.equal(all.length, 2 * POINTS);
    assert.deepEqual(points(name, 3), all);
    assert.notDeepEqual(points(name, 4), all);
  });

  test(`${name}: about centred, and within 2.5 of the origin in both directions`, () => {
    for (let seed = 1; seed <= 50; seed++) {
      const all = points(name, seed);
      assert.ok(all.every((each) => Math.abs(each) <= 2.5), `seed ${seed}`);
      for (const d of [0, 1]) {
        const middle = all.filter((_, i) => i % 2 === d).reduce((a, b) => a + b) / POINTS;
        assert.ok(Math.abs(middle) < 0.5, `seed ${seed}: mean ${middle}`);
      }
    }
  });
}

// ---- Shapes, by equations that their points fulfil but for the noise ----------------------------

/** The points of some seeds, as [x, y]. */
const pairs = (name) => [1, 2, 3, 4, 5].flatMap((seed) => {
  const all = points(name, seed);
  return Array.from({ length: POINTS }, (_, i) => [all[2 * i], all[2 * i + 1]]);
});

/** Points leave their curve by normal noise of this standard deviation, in both directions. */
function scattered(distances, sd) {
  const square = distances.reduce((sum, each) => sum + each * each, 0) / distances.length;
  assert.ok(Math.abs(Math.sqrt(square) / sd - 1) < 0.1, `${Math.sqrt(square)}, expected ${sd}`);
  const middle = distances.reduce((a, b) => a + b) / distances.length;
  assert.ok(Math.abs(middle) < 0.1 * sd, `${middle}, expected 0`);
}

const share = (values, holds) => values.filter(holds).length / values.length;
const about = (actual, expected) =>
  assert.ok(Math.abs(actual - expected) < 0.05, `${actual}, expected ${expected}`);

test("rings: two fifths at a radius of 0.8, the others at 1.8, in all directions", () => {
  const all = pairs("rings"), radii = all.map(([x, y]) => Math.hypot(x, y));
  scattered(radii.map((radius) => radius - (radius < 1.3 ? 0.8 : 1.8)), 0.08);
  about(share(radii, (radius) => radius < 1.3), 0.4);
  for (const a of [-1, 1]) for (const b of [-1, 1]) {
    about(share(all, ([x, y]) => a * x > 0 && b * y > 0), 0.25);
  }
});

test("spiral: the radius grows with the angle, from 0.3 to 1.9 in 1.6 turns", () => {
  const perAngle = 1.6 / (3.2 * Math.PI), radii = [];
  scattered(pairs("spiral").map(([x, y]) => {
    const radius = Math.hypot(x, y), first = 0.3 + perAngle * (Math.atan2(y, x) - 0.5);
    const turn = 2 * Math.PI * perAngle, nearest = Math.round((radius - first) / turn);
    radii.push(radius);
    return radius - first - turn * nearest;
  }), 0.08);
  about(Math.max(...radii), 2.1);
  about(share(radii, (radius) => radius < 0.3 + 1.6 * Math.sqrt(0.5)), 0.5);
});

test("moons: the upper half of one circle and the lower half of another, as many of each", () => {
  const all = pairs("moons");
  const from = ([x, y], [left, up]) => Math.hypot(x - left, y - up) - 1.25;
  const both = all.map((at) => [from(at, [-0.6, -0.3]), from(at, [0.6, 0.3])]);
  const isFirst = ([first, second]) => Math.abs(first) < Math.abs(second);
  scattered(both.map((each) => (isFirst(each) ? each[0] : each[1])), 0.08);
  about(share(both, isFirst), 0.5);
  assert.ok(all.every(([, y]) => Math.abs(y) < 1.35)); // whole circles reach 1.55
});

test("blobs: five, at a radius of 1.5, a fifth of a turn apart", () => {
  const all = pairs("blobs"), turn = (2 * Math.PI) / 5;
  const number = ([x, y]) => (Math.round((Math.atan2(y, x) - 0.4) / turn) + 5) % 5;
  const offsets = all.map(([x, y]) => {
    const angle = 0.4 + turn * number([x, y]);
    return [x - 1.5 * Math.cos(angle), y - 1.5 * Math.sin(angle)];
  });
  for (const d of [0, 1]) scattered(offsets.map((each) => each[d]), 0.2);
  for (const blob of [0, 1, 2, 3, 4]) about(share(all, (at) => number(at) === blob), 0.2);
});

// ---- Text ---------------------------------------------------------------------------------------

const anywhere = (seed, reach) => {
  const random = uniformNumbers(seed);
  return filled(10000, () => reach * (2 * random() - 1));
};

test("text holds snapped points to the bit", () => {
  const all = anywhere(1, 2.7).map(snapped);
  assert.deepEqual(fromText(toText(all)), all);
  assert.deepEqual(fromText(""), new Float64Array(0));
});

test("snapping twice is snapping once, and moves a point by half a place at most", () => {
  const all = anywhere(2, 2.5);
  assert.deepEqual(all.map(snapped).map(snapped), all.map(snapped));
  assert.ok(all.every((x) => Math.abs(x - snapped(x)) <= 2.5 / 4095 + 1e-12));
  assert.deepEqual([-9, 9, -2.5, 2.5].map(snapped), [-2.5, 2.5, -2.5, 2.5]);
});

test("text of points that are not snapped is the text of their snapped places", () => {
  const all = anywhere(3, 4);
  assert.equal(toText(all), toText(all.map(snapped)));
  assert.match(toText(all), /^[\w-]+$/);
});

for (const text of ["AAA", "AAAAA", "AA!A", "AAA\u00e4", "AA A", "AAAA\n", "%41AAA"]) {
  test(`no points, but an error that says what a text is, from ${JSON.stringify(text)}`, () => {
    assert.throws(() => fromText(text), /four of the letters.* per point, found \d+/);
  });
}
