/**
 * Fully connected networks, their gradients, and Adam.
 *
 * A layer keeps its weights as PyTorch does: `weight` is `[outputs, inputs]`, row by row. A batch
 * is one typed array, row by row as well. All arrays of a network are of one kind: Float64Array for
 * the toy world, Float32Array for the digits. Sums are always in double precision.
 */

/**
 * A network with PyTorch's initial weights: uniform within 1 / sqrt(inputs) of zero.
 *
 * @param sizes of the layers, for instance [784, 128, 4]
 * @param activation of the hidden layers: "tanh" or "relu"; the last layer is linear
 * @param random a function of uniform numbers in (0, 1)
 */
export function network(sizes, activation, random, Kind = Float64Array) {
  const layers = sizes.slice(1).map((outputs, i) => {
    const inputs = sizes[i], bound = 1 / Math.sqrt(inputs);
    const drawn = (count) => Kind.from({ length: count }, () => bound * (2 * random() - 1));
    return { inputs, outputs, weight: drawn(outputs * inputs), bias: drawn(outputs) };
  });
  return { layers, activation };
}

/** The arrays that training changes, layer by layer: weight, bias. */
export function parameters({ layers }) {
  return layers.flatMap(({ weight, bias }) => [weight, bias]);
}

/**
 * What each layer makes of a batch, from the batch itself to the output of the last layer.
 *
 * @param x `[rows, inputs]`
 * @returns an array for each layer and one for x; `forward(...).at(-1)` is the output
 */
export function forward({ layers, activation }, x, rows) {
  const values = [x];
  for (const layer of layers) {
    const y = linear(layer, values.at(-1), rows);
    if (layer !== layers.at(-1)) activate(y, activation);
    values.push(y);
  }
  return values;
}

function linear({ inputs, outputs, weight, bias }, x, rows) {
  return product(x, transposed(weight, outputs, inputs), rows, inputs, outputs, bias);
}

function activate(y, activation) {
  if (activation === "relu") {
    for (let i = 0; i < y.length; i++) if (y[i] < 0) y[i] = 0;
  } else {
    for (let i = 0; i < y.length; i++) y[i] = Math.tanh(y[i]);
  }
}

/**
 * The gradients of a loss, by backpropagation.
 *
 * @param values what `forward` returned
 * @param slope the loss's derivative by the output, `[rows, outputs]`
 * @returns `gradients`, an array for each of `parameters(network)`, and `below`, the derivative by
 *   the input, `[rows, inputs]`, or null where `wantsBelow` is false
 */
export function backward({ layers, activation }, values, rows, slope, wantsBelow = true) {
  const gradients = [];
  let above = slope;
  for (let i = layers.length - 1; i >= 0; i--) {
    const wanted = i > 0 || wantsBelow;
    const { weight, bias, below } = linearBackward(layers[i], values[i], rows, above, wanted);
    gradients.unshift(weight, bias);
    if (i > 0) deactivate(below, values[i], activation);
    above = below;
  }
  return { gradients, below: above };
}

function linearBackward({ inputs, outputs, weight }, x, rows, above, wantsBelow) {
  const byWeight = product(transposed(x, rows, inputs), above, inputs, rows, outputs);
  const bias = new Float64Array(outputs);
  for (let i = 0; i < above.length; i++) bias[i % outputs] += above[i];
  return {
    weight: transposed(byWeight, inputs, outputs),
    bias: new x.constructor(bias),
    below: wantsBelow ? product(above, weight, rows, outputs, inputs) : null,
  };
}

/** The chain rule through an activation, from what came out of it: tanh' = 1 - tanh^2. */
function deactivate(below, y, activation) {
  if (activation === "relu") {
    for (let i = 0; i < y.length; i++) if (y[i] === 0) below[i] = 0;
  } else {
    for (let i = 0; i < y.length; i++) below[i] *= 1 - y[i] * y[i];
  }
}

/**
 * The product of two matrices, `[rows, inner]` and `[inner, columns]`, with `start` added to each
 * row.
 *
 * Zeros of the left one cost nothing: most pixels of a digit are zero, and half of ReLU's outputs.
 * Four rows of the right one at a time, because reading and writing the sums would otherwise take
 * longer than the arithmetic.
 */
function product(left, right, rows, inner, columns, start = new Float64Array(columns)) {
  const all = new left.constructor(rows * columns), sums = new Float64Array(columns);
  const factors = new Float64Array(inner + 3), starts = new Int32Array(inner + 3);
  for (let row = 0; row < rows; row++) {
    let count = 0;
    for (let i = 0; i < inner; i++) {
      const factor = left[row * inner + i];
      if (factor === 0) continue;
      factors[count] = factor;
      starts[count++] = i * columns;
    }
    factors.fill(0, count); // the last four may be fewer
    sums.set(start);
    for (let j = 0; j < count; j += 4) {
      const a = factors[j], b = factors[j + 1], c = factors[j + 2], d = factors[j + 3];
      const p = starts[j], q = starts[j + 1], r = starts[j + 2], s = starts[j + 3];
      for (let i = 0; i < columns; i++) {
        sums[i] += a * right[p + i] + b * right[q + i] + c * right[r + i] + d * right[s + i];
      }
    }
    all.set(sums, row * columns);
  }
  return all;
}

function transposed(matrix, rows, columns) {
  const turned = new matrix.constructor(matrix.length);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i++) turned[i * rows + row] = matrix[row * columns + i];
  }
  return turned;
}

/** Adam's two running means for each parameter (Kingma & Ba, 2015), all zero at first. */
export function adam(arrays) {
  const zeros = () => arrays.map((array) => new array.constructor(array.length));
  return { steps: 0, mean: zeros(), square: zeros() };
}

const DECAY = [0.9, 0.999], EPSILON = 1e-8; // as in PyTorch

/** One step of Adam (Algorithm 1): changes `arrays` and `state`. */
export function adamStep(state, arrays, gradients, learningRate) {
  const [b1, b2] = DECAY;
  state.steps += 1;
  const rate = learningRate / (1 - b1 ** state.steps); // the running means began at zero,
  const correction = Math.sqrt(1 - b2 ** state.steps); // and are too small by these factors
  arrays.forEach((array, n) => {
    const gradient = gradients[n], mean = state.mean[n], square = state.square[n];
    for (let i = 0; i < array.length; i++) {
      const g = gradient[i];
      mean[i] = b1 * mean[i] + (1 - b1) * g;
      square[i] = b2 * square[i] + (1 - b2) * g * g;
      array[i] -= (rate * mean[i]) / (Math.sqrt(square[i]) / correction + EPSILON);
    }
  });
}
