/**
 * What a model with one latent allows: log p(x), the true posterior and the best Gaussian q, by
 * quadrature on a grid.
 *
 * The trapezoidal rule on equal steps is exact to many digits for smooth functions that vanish at
 * both ends, as soon as the steps are shorter than about half of the narrowest bump.
 */

import { decode, logSumExp } from "./vae.js";

const LOG_2PI = Math.log(2 * Math.PI);
const POINTS = 200, MOST_POINTS = 3200, AGREES = 1e-3;
const REACH = 8, NEGLIGIBLE = 25; // nats below the peak
const FARTHEST = 6, SHORT = 0.02; // in standard deviations; in z

/** Equal steps: `points` values of z from -reach to reach, and the step. */
export function grid(reach, points = POINTS) {
  const step = (2 * reach) / (points - 1);
  return { z: Float64Array.from({ length: points }, (_, i) => i * step - reach), step };
}

/**
 * The model on a grid that is wide and fine enough for some points x: the grid of 200 points, wider
 * where codes or posteriors are far out, and finer until log p(x) from every second point agrees
 * with that from all.
 *
 * @param x `[rows, D]`
 * @param mu the means of q of the same rows; the grid reaches beyond them
 * @returns z, step, means `[points, D]`, and joints: log p(x, z) on the grid, an array per row;
 *   isFine: false where even the finest grid is too coarse, or too short
 */
export function onGrid(model, x, rows, mu) {
  let reach = Math.max(REACH, ...Array.from(mu, (m) => Math.abs(m) + FARTHEST));
  for (let points = POINTS; ; points *= 2) {
    const { z, step } = grid(reach, points), means = decode(model, z, points), joints = [];
    let isWide = true, isFine = true;
    const isLast = points >= MOST_POINTS; // before, the first row that fails decides
    for (let row = 0; row < rows && (isLast || (isWide && isFine)); row++) {
      const joint = logJoint(model, x, row, rows, z, means);
      joints.push(joint);
      isWide &&= vanishes(joint);
      isFine &&= agrees(joint);
    }
    if (isLast || (isWide && isFine)) return { z, step, means, joints, isFine: isWide && isFine };
    if (!isWide) reach *= 2;
  }
}

/** Whether a row's posterior is negligible at both ends of the grid. */
function vanishes(joint) {
  const ends = Math.max(joint[0], joint.at(-1));
  return joint.some((each) => each > ends + NEGLIGIBLE);
}

/** Whether every second point gives the log p(x) that all points give. */
function agrees(joint) {
  const all = logSumExp(joint);
  let half = 0;
  for (let i = 0; i < joint.length; i += 2) half += Math.exp(joint[i] - all);
  return Math.abs(Math.log(2 * half)) < AGREES;
}

function logJoint({ logSigma: [logSigma] }, x, row, rows, z, means) {
  const size = x.length / rows, precision = Math.exp(-2 * logSigma);
  const constant = -size * (logSigma + 0.5 * LOG_2PI) - 0.5 * LOG_2PI;
  const joint = new Float64Array(z.length);
  for (let i = 0; i < z.length; i++) {
    let square = 0;
    for (let d = 0; d < size; d++) {
      const residual = x[row * size + d] - means[i * size + d];
      square += residual * residual;
    }
    joint[i] = constant - 0.5 * (precision * square + z[i] * z[i]);
  }
  return joint;
}

/** log p(x): the logarithm of the integral of p(x, z) over z. */
export function logEvidence(joint, step) {
  return logSumExp(joint) + Math.log(step);
}

/** p(z|x) on the grid, a density. */
export function posterior(joint, step) {
  const evidence = logEvidence(joint, step);
  return joint.map((each) => Math.exp(each - evidence));
}

/**
 * The ELBO of one row, exactly: E_q[log p(x|z)] - KL, the mean over q by the trapezoidal rule.
 *
 * @param point the row of x, `[D]`
 * @param longest the longest step in z that shows the decoder's bends
 */
export function elbo(model, point, mu, logvar, longest = SHORT) {
  const sigma = Math.exp(0.5 * logvar), size = point.length;
  const wanted = Math.ceil((2 * FARTHEST) / Math.min(0.7, longest / sigma));
  const count = Math.min(wanted + 1, MOST_POINTS), { z: u } = grid(FARTHEST, count);
  const means = decode(model, u.map((t) => mu + sigma * t), count);
  const precision = Math.exp(-2 * model.logSigma[0]);
  let weight = 0, square = 0;
  u.forEach((t, i) => {
    const w = Math.exp(-0.5 * t * t);
    weight += w;
    for (let d = 0; d < size; d++) square += w * (point[d] - means[i * size + d]) ** 2;
  });
  const likelihood =
    -0.5 * precision * (square / weight) - size * (model.logSigma[0] + 0.5 * LOG_2PI);
  return likelihood - 0.5 * (mu * mu + sigma * sigma - 1 - logvar);
}

// ---- The best Gaussian --------------------------------------------------------------------------

/**
 * The Gaussian q with the smallest KL(q || p(z|x)), and that KL: the approximation gap.
 *
 * Newton's method from each start, because a posterior with two hills has two candidates. With
 * Hermite's polynomials He_k of u = (z - mu) / sigma and S_k = E_q[log p(x, z) He_k(u)], the
 * derivatives of the KL are -S_1 / sigma by mu and -1 - S_2 by log sigma.
 *
 * @param joint log p(x, z) on the grid
 * @param starts [mu, logvar] pairs; q of the encoder is one
 * @returns mu, logvar, gap in nats
 */
export function bestGaussian(joint, { z, step }, starts) {
  const evidence = logEvidence(joint, step);
  const candidates = starts.map(([mu, logvar]) => descend(joint, z, step, mu, 0.5 * logvar));
  const best = candidates.reduce((a, b) => (b.value < a.value ? b : a));
  return { mu: best.mu, logvar: 2 * best.logSigma, gap: best.value + evidence };
}

const NARROWEST = 0.7; // grid steps; below, a sum over the grid is not the mean over q any more
const MOVES = 30, SETTLED = 1e-10; // nats

function descend(joint, z, step, mu, logSigma) {
  const lowest = Math.log(NARROWEST * step);
  let at = moments(joint, z, step, mu, Math.max(logSigma, lowest));
  for (let i = 0; i < MOVES; i++) {
    const move = newton(at);
    let next = null;
    for (let share = 1; share > 1e-3; share /= 2) {
      const to = at.logSigma + share * move[1];
      next = moments(joint, z, step, at.mu + share * move[0], Math.max(to, lowest));
      if (next.value < at.value) break;
    }
    if (!(next.value < at.value - SETTLED)) break;
    at = next;
  }
  return at;
}

/**
 * E_q[log q - log p(x, z)], which is KL(q || p(z|x)) - log p(x), and the sums S_1 to S_4.
 *
 * Here q is a distribution on the points of the grid, so that the KL is never negative.
 */
function moments(joint, z, step, mu, logSigma) {
  const sigma = Math.exp(logSigma), [start] = z;
  const first = Math.max(0, Math.ceil((mu - FARTHEST * sigma - start) / step));
  const last = Math.min(z.length - 1, Math.floor((mu + FARTHEST * sigma - start) / step));
  let weight = 0, square = 0, s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0;
  for (let i = first; i <= last; i++) {
    const u = (z[i] - mu) / sigma, u2 = u * u, w = Math.exp(-0.5 * u2), share = w * joint[i];
    weight += w;
    square += w * u2;
    s0 += share;
    s1 += share * u;
    s2 += share * (u2 - 1);
    s3 += share * u * (u2 - 3);
    s4 += share * (u2 * u2 - 6 * u2 + 3);
  }
  const isInside = Math.abs(mu) + FARTHEST * sigma <= z.at(-1); // else a part of q is missing
  const value = isInside ? -(0.5 * square + s0) / weight - Math.log(weight * step) : Infinity;
  return {
    mu, logSigma, sigma, value,
    s1: s1 / weight, s2: s2 / weight, s3: s3 / weight, s4: s4 / weight,
  };
}

/** Newton's step for mu and log sigma where the KL is convex, else one down the slope. */
function newton({ sigma, s1, s2, s3, s4 }) {
  const slope = [-s1 / sigma, -1 - s2];
  const a = -s2 / sigma ** 2, b = -s3 / sigma, c = -(s4 + 2 * s2), determinant = a * c - b * b;
  const isConvex = a > 0 && determinant > 0;
  const move = isConvex
    ? [(b * slope[1] - c * slope[0]) / determinant, (b * slope[0] - a * slope[1]) / determinant]
    : [-slope[0] * sigma ** 2, -0.5 * slope[1]];
  const limit = Math.max(Math.abs(move[0]) / (2 * sigma), Math.abs(move[1]), 1);
  return move.map((each) => each / limit);
}

/** Where p(x, z) has its hills: a start [mu, logvar] for each, by its height and its curvature. */
export function hills(joint, { z, step }, most = 3) {
  const found = [];
  for (let i = 1; i < joint.length - 1; i++) {
    if (joint[i] < joint[i - 1] || joint[i] <= joint[i + 1]) continue;
    const curvature = (2 * joint[i] - joint[i - 1] - joint[i + 1]) / step ** 2;
    found.push({ height: joint[i], start: [z[i], -Math.log(Math.max(curvature, 1e-2))] });
  }
  return found.sort((a, b) => b.height - a.height).slice(0, most).map(({ start }) => start);
}

// ---- The gaps -----------------------------------------------------------------------------------

/**
 * All that is known of one row: log p(x), the ELBO, and the two parts of the gap between them.
 *
 * @returns evidence, elbo, approximation and amortisation, all in nats, and the best Gaussian
 */
export function gaps(model, there, row, point, mu, logvar) {
  const joint = there.joints[row];
  const evidence = logEvidence(joint, there.step);
  const bound = boundOf(model, there, row, point, mu, logvar);
  const best = bestGaussian(joint, there, [[mu, logvar], ...hills(joint, there)]);
  const gap = evidence - bound;
  const approximation = Math.min(best.gap, gap);
  return { evidence, elbo: bound, approximation, amortisation: gap - approximation, best };
}

const WIDE = 1.5; // grid steps

/** The ELBO from the grid where q is wide enough for it, else from points of its own. */
function boundOf(model, { z, step, joints }, row, point, mu, logvar) {
  const logSigma = 0.5 * logvar;
  if (logSigma > Math.log(WIDE * step)) {
    const { value } = moments(joints[row], z, step, mu, logSigma);
    if (value < Infinity) return -value;
  }
  return elbo(model, point, mu, logvar, step);
}
