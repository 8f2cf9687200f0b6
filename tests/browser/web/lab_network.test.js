/** Layers against naive ones, and Adam against its paper. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { adam, adamStep, backward, forward, network, parameters }
  from "../../../report/interactive/lab/network.js";
import { filled, near, normalNumbers, uniformNumbers } from "./lab_support.js";

const KINDS = [[Float64Array, 1e-13], [Float32Array, 3e-6]];

/** Normal numbers of which most are zero, as the pixels of a digit are. */
const sparse = (length, seed, Kind) => {
  const normal = normalNumbers(seed), random = uniformNumbers(seed);
  return filled(length, () => (random() < 0.7 ? 0 : normal()), Kind);
};

for (const activation of ["tanh", "relu"]) for (const [Kind, within] of KINDS) {
  test(`layers are naive matrix products: ${activation}, ${Kind.name}`, () => {
    const sizes = [13, 7, 6, 5], rows = 9;
    const net = network(sizes, activation, uniformNumbers(1), Kind);
    const slope = filled(rows * 5, normalNumbers(3), Kind);
    for (const x of [sparse(rows * 13, 2, Kind), filled(rows * 13, normalNumbers(2), Kind)]) {
      const values = forward(net, x, rows);
      const told = backward(net, values, rows, slope);
      const { output, gradients, below } = naive(net, x, rows, slope);
      near(values.at(-1), output, within);
      gradients.forEach((each, i) => near(told.gradients[i], each, within, `array ${i}`));
      near(told.below, below, within);
      assert.equal(values.at(-1).constructor, Kind);
      assert.ok(told.gradients.every((each) => each.constructor === Kind));
    }
  });
}

test("without the derivative by the input the gradients are the same", () => {
  const net = network([13, 7, 5], "relu", uniformNumbers(1)), x = sparse(9 * 13, 2);
  const values = forward(net, x, 9), slope = filled(9 * 5, normalNumbers(3));
  const { gradients, below } = backward(net, values, 9, slope, false);
  assert.equal(below, null);
  assert.deepEqual(gradients, backward(net, values, 9, slope).gradients);
});

test("slopes that are zero for whole rows change nothing", () => {
  const net = network([13, 7, 5], "relu", uniformNumbers(1)), x = sparse(9 * 13, 2);
  const slope = filled(9 * 5, normalNumbers(3)).map((each, i) => (i % 15 < 5 ? 0 : each));
  const told = backward(net, forward(net, x, 9), 9, slope);
  naive(net, x, 9, slope).gradients.forEach((each, i) => near(told.gradients[i], each, 1e-13));
});

/** The same with three loops per layer, in doubles. */
function naive({ layers, activation }, x, rows, slope) {
  const f = activation === "relu" ? (a) => Math.max(a, 0) : Math.tanh;
  const derivative = activation === "relu" ? (a) => Number(a > 0) : (a) => 1 / Math.cosh(a) ** 2;
  const inputs = [], sums = [];
  let value = Array.from(x);
  layers.forEach((layer, n) => {
    inputs.push(value);
    const y = [];
    for (let r = 0; r < rows; r++) for (let o = 0; o < layer.outputs; o++) {
      let sum = layer.bias[o];
      for (let i = 0; i < layer.inputs; i++) {
        sum += layer.weight[o * layer.inputs + i] * value[r * layer.inputs + i];
      }
      y.push(sum);
    }
    sums.push(y);
    value = n < layers.length - 1 ? y.map(f) : y;
  });
  let above = Array.from(slope);
  const gradients = [];
  for (let n = layers.length - 1; n >= 0; n--) {
    const layer = layers[n];
    if (n < layers.length - 1) above = above.map((each, i) => each * derivative(sums[n][i]));
    const weight = Array(layer.outputs * layer.inputs).fill(0), bias = Array(layer.outputs).fill(0);
    const below = Array(rows * layer.inputs).fill(0);
    for (let r = 0; r < rows; r++) for (let o = 0; o < layer.outputs; o++) {
      const each = above[r * layer.outputs + o];
      bias[o] += each;
      for (let i = 0; i < layer.inputs; i++) {
        weight[o * layer.inputs + i] += each * inputs[n][r * layer.inputs + i];
        below[r * layer.inputs + i] += each * layer.weight[o * layer.inputs + i];
      }
    }
    gradients.unshift(weight, bias);
    above = below;
  }
  return { output: value, gradients, below: above };
}

test("initial weights are uniform within 1 / sqrt(inputs), biases too", () => {
  const [weight, bias, second] = parameters(network([400, 300, 9], "relu", uniformNumbers(4)));
  for (const [array, bound] of [[weight, 0.05], [bias, 0.05], [second, 1 / Math.sqrt(300)]]) {
    assert.ok(array.every((each) => Math.abs(each) <= bound));
    const square = array.reduce((sum, each) => sum + each * each, 0) / array.length;
    near(square / (bound ** 2 / 3), 1, 5 / Math.sqrt(array.length));
  }
});

for (const [Kind, within] of KINDS) {
  test(`Adam's first step is the rate, against the slope's sign: ${Kind.name}`, () => {
    const array = Kind.of(1, 2, 3, 4), gradient = Kind.of(1e-3, -7, 0, 400);
    adamStep(adam([array]), [array], [gradient], 0.01);
    near(array, [0.99, 2.01, 3, 3.99], 1e-7 + within);
  });

  test(`Adam is Algorithm 1: ${Kind.name}`, () => {
    const random = normalNumbers(8), arrays = [filled(5, random, Kind), filled(3, random, Kind)];
    const theta = arrays.map((array) => Array.from(array));
    const zeros = () => theta.map((array) => array.map(() => 0)), m = zeros(), v = zeros();
    const state = adam(arrays);
    for (let t = 1; t <= 50; t++) {
      const g = arrays.map((array) => filled(array.length, random, Kind));
      adamStep(state, arrays, g, 0.02);
      for (const n of [0, 1]) for (let i = 0; i < theta[n].length; i++) {
        m[n][i] = 0.9 * m[n][i] + (1 - 0.9) * g[n][i];
        v[n][i] = 0.999 * v[n][i] + (1 - 0.999) * g[n][i] ** 2;
        const mHat = m[n][i] / (1 - 0.9 ** t), vHat = v[n][i] / (1 - 0.999 ** t);
        theta[n][i] -= (0.02 * mHat) / (Math.sqrt(vHat) + 1e-8);
      }
    }
    theta.forEach((array, n) => near(arrays[n], array, 10 * within));
  });
}

test("Adam adds epsilon outside the corrected root", () => {
  const array = Float64Array.of(0);
  adamStep(adam([array]), [array], [Float64Array.of(1e-8)], 1);
  near(array, [-0.5], 1e-12);
});
