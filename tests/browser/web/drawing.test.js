/** Scales and round numbers: what every axis is drawn with. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { scale, ticks } from "../../../report/interactive/shared/drawing.js";
import { uniform } from "../../../report/interactive/shared/random.js";

const isClose = (a, b, size) => assert.ok(Math.abs(a - b) <= 1e-9 * size, `${a} and ${b}`);

test("a scale maps its ends to the ends, upside down too, and its inverse leads back", () => {
  const random = uniform(1), anywhere = () => 2000 * random() - 1000;
  for (let i = 0; i < 1000; i++) {
    const [from, low, high] = [anywhere(), anywhere(), anywhere()];
    const to = from + 1 + 1000 * random(), share = 3 * random() - 1;
    const forward = scale(from, to, low, high);
    isClose(forward(from), low, 1000);
    isClose(forward(to), high, 1000);
    const value = from + share * (to - from);
    isClose(forward(value), low + share * (high - low), 1e6);
    if (Math.abs(high - low) > 1) isClose(forward.inverse(forward(value)), value, 1e6);
    assert.deepEqual([forward.from, forward.to, forward.low, forward.high], [from, to, low, high]);
  }
});

test("marks of an axis are the round numbers that one would write there", () => {
  const expected = [
    [[0, 100], [0, 20, 40, 60, 80, 100]], [[0, 10], [0, 2, 4, 6, 8, 10]],
    [[-2.6, 2.6], [-2, 0, 2]], [[0.1, 0.7], [0.2, 0.4, 0.6]], [[-0.3, 0], [-0.3, -0.2, -0.1, 0]],
    [[0, 0.6], [0, 0.2, 0.4, 0.6]],
    [[0, 2000], [0, 500, 1000, 1500, 2000]], [[7, 8], [7, 7.2, 7.4, 7.6, 7.8, 8]],
  ];
  for (const [[from, to], marks] of expected) {
    assert.deepEqual(ticks(from, to), marks);
  }
});

test("marks lie between the ends, equally far apart, two to six of them, whatever the size", () => {
  const random = uniform(2);
  for (let i = 0; i < 5000; i++) {
    const length = 10 ** (12 * random() - 6), from = length * (4 * random() - 2);
    const to = from + length, marks = ticks(from, to), slack = 1e-8 * length;
    assert.ok(marks.length >= 2 && marks.length <= 6, `${from} to ${to}: ${marks}`);
    assert.ok(marks[0] >= from - slack && marks.at(-1) <= to + slack);
    const step = marks[1] - marks[0];
    for (let n = 1; n < marks.length; n++) isClose(marks[n] - marks[n - 1], step, 10 * length);
    assert.match(step.toExponential(6), /^(1|2|5)\.000000e/);
  }
});
