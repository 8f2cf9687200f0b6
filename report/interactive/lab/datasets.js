/** The data sets of the toy world: points in the plane, within about 2 of the origin. */

import { normal, uniform, streamSeed } from "../shared/random.js";

export const POINTS = 400;
const NOISE = 0.08;

/** By name, a point of each shape from uniform numbers, without its noise. */
const SHAPES = {
  rings: (random) => around(random() < 0.4 ? 0.8 : 1.8, 2 * Math.PI * random()),
  spiral(random) {
    const t = Math.sqrt(random()); // as many points per length inside as outside
    return around(0.3 + 1.6 * t, 0.5 + 3.2 * Math.PI * t);
  },
  moons(random) {
    const angle = Math.PI * random();
    return random() < 0.5
      ? [1.25 * Math.cos(angle) - 0.6, 1.25 * Math.sin(angle) - 0.3]
      : [0.6 - 1.25 * Math.cos(angle), 0.3 - 1.25 * Math.sin(angle)];
  },
  blobs(random) {
    const angle = 0.4 + (2 * Math.PI * Math.floor(5 * random())) / 5;
    return around(1.5, angle);
  },
};
const SPREAD = { blobs: 0.2 };

function around(radius, angle) {
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

export const NAMES = [...Object.keys(SHAPES), "drawn"];

/**
 * The points of a shape, `[400, 2]`, always the same for the same seed.
 *
 * @param name one of "rings", "spiral", "moons", "blobs"
 */
export function points(name, seed) {
  const random = uniform(streamSeed(seed, "data")), noise = normal(streamSeed(seed, "data noise"));
  const spread = SPREAD[name] ?? NOISE;
  const all = new Float64Array(2 * POINTS);
  for (let i = 0; i < POINTS; i++) {
    const [x, y] = SHAPES[name](random);
    all[2 * i] = x + spread * noise();
    all[2 * i + 1] = y + spread * noise();
  }
  return all;
}

// ---- Drawn points, as text for a link -----------------------------------------------------------

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LAST = 64 * 64 - 1, REACH = 2.5; // places 0 to 4095, from -2.5 to 2.5

/** The number of the place that is nearest to x: two digits hold it. */
function placeOf(x) {
  return Math.min(LAST, Math.max(0, Math.round(((x + REACH) / (2 * REACH)) * LAST)));
}

const atPlace = (place) => (place / LAST) * 2 * REACH - REACH;

/** The nearest number on the grid of drawn points: a link holds it to the bit. */
export const snapped = (x) => atPlace(placeOf(x));

/** Points `[n, 2]`, moved to the grid, as four letters each. */
export function toText(all) {
  return Array.from(all, (x) => DIGITS[placeOf(x) >> 6] + DIGITS[placeOf(x) & 63]).join("");
}

/**
 * The points `[n, 2]` that a text holds.
 *
 * @throws RangeError where the text is not one that `toText` makes
 */
export function fromText(text) {
  if (text.length % 4 || /[^A-Za-z0-9_-]/.test(text)) {
    throw new RangeError(
      `expected four of the letters A-Z, a-z, 0-9, - and _ per point, found ${text.length} ` +
      `characters: "${text.slice(0, 20)}"; draw the points again, or copy the whole link`,
    );
  }
  return Float64Array.from({ length: text.length / 2 }, (_, i) =>
    atPlace(64 * DIGITS.indexOf(text[2 * i]) + DIGITS.indexOf(text[2 * i + 1])),
  );
}
