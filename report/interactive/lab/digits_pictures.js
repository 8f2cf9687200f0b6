/** How the tab of the digits paints: digits in rows, codes in the plane, losses over the steps. */

import { CLASS_COLOURS, axis, colours, fit, ink, scale } from "../shared/drawing.js";
import { EXAMPLES } from "./digits.js";

const DIGIT_SIDE = 28, DIGIT_GAP = 3, ACROSS = 5; // pixels, pixels, digits in a row
const PAIR_GAP = 14; // pixels between the two rows of pairs
const DOT = 2.5; // CSS pixels
const PLANE_REACHES = [4, 6, 10, 15, 25, 40, 60, 100, 250, 1000];

/** Digits in rows, each with a gap to the next. */
export function paintDigits(canvas, pixels, count, across = ACROSS, gap = DIGIT_GAP) {
  const size = DIGIT_SIDE ** 2, pitch = DIGIT_SIDE + gap;
  for (let i = 0; i < count; i++) {
    const own = pixels.subarray(i * size, (i + 1) * size);
    ink(canvas, own, (i % across) * pitch, Math.floor(i / across) * pitch);
  }
}

/** Two rows of pairs: an image, and right under it its reconstruction. */
export function paintPairs(canvas, images, reconstructions) {
  const size = DIGIT_SIDE ** 2, pair = 2 * DIGIT_SIDE + PAIR_GAP;
  for (let i = 0; i < EXAMPLES; i++) {
    const left = (i % ACROSS) * (DIGIT_SIDE + DIGIT_GAP), top = Math.floor(i / ACROSS) * pair;
    const one = (all) => all.subarray(i * size, (i + 1) * size);
    ink(canvas, one(images), left, top);
    ink(canvas, one(reconstructions), left, top + DIGIT_SIDE);
  }
}

/**
 * Codes as dots, each digit's name at the median of its codes, and the prior's circles.
 *
 * @returns how far the picture reaches: the next round number beyond 99 % of the codes
 */
export function paintPlaneOfCodes(canvas, codes, labels) {
  const { context, width } = fit(canvas), colour = colours();
  const reach = reachOf(codes);
  const x = scale(-reach, reach, 0, width), y = scale(-reach, reach, width, 0);
  context.clearRect(0, 0, width, width);
  CLASS_COLOURS.forEach((paint, digit) => {
    context.fillStyle = paint;
    labels.forEach((label, i) => {
      if (label === digit) context.fillRect(x(codes[2 * i]) - 1, y(codes[2 * i + 1]) - 1, DOT, DOT);
    });
  });
  context.strokeStyle = colour.text;
  context.lineWidth = 1.5;
  for (const radius of [1, 2, 3]) {
    context.beginPath();
    context.arc(x(0), y(0), x(radius) - x(0), 0, 2 * Math.PI);
    context.stroke();
  }
  nameDigits(context, codes, labels, x, y, colour);
  context.font = "12px sans-serif";
  context.fillStyle = colour.quiet;
  context.textAlign = "left";
  context.fillText(`\u00b1${reach}`, 5, width - 6);
  return reach;
}

function reachOf(codes) {
  const sorted = Array.from(codes, Math.abs).sort((a, b) => a - b);
  const most = sorted[Math.floor(0.99 * sorted.length)];
  return PLANE_REACHES.find((reach) => reach >= most) ?? PLANE_REACHES.at(-1);
}

function nameDigits(context, codes, labels, x, y, colour) {
  context.font = "700 15px sans-serif";
  context.textAlign = "center";
  context.lineJoin = "round";
  context.lineWidth = 4;
  context.strokeStyle = colour.page;
  context.fillStyle = colour.text;
  for (let digit = 0; digit < CLASS_COLOURS.length; digit++) {
    const mine = Array.from(labels.keys()).filter((i) => labels[i] === digit);
    if (!mine.length) continue;
    const at = [x, y].map((to, k) => to(medianOf(mine.map((i) => codes[2 * i + k]))));
    context.strokeText(digit, at[0], at[1] + 5);
    context.fillText(digit, at[0], at[1] + 5);
  }
}

const medianOf = (values) => values.sort((a, b) => a - b)[values.length >> 1];

/** Which share of codes lies within a radius of the origin. */
export function shareWithin(codes, radius) {
  let inside = 0;
  for (let i = 0; i < codes.length; i += 2) {
    if (Math.hypot(codes[i], codes[i + 1]) < radius) inside += 1;
  }
  return inside / (codes.length / 2);
}

// ---- Losses over the steps ---------------------------------------------------------------------

export const PER_STEP = 8; // numbers of a step: bce, kl and their running means, for each run
/** A run begins at 543 nats of BCE, far above all that follows: it is cut off above `tallest`. */
export const LOSSES = {
  bce: { at: 0, words: "BCE", beginsAtZero: false, tallest: 100 },
  kl: { at: 1, words: "KL", beginsAtZero: true, tallest: Infinity },
};
const PLOT_ROOM = { left: 44, right: 10, top: 14, bottom: 28 };

/**
 * One loss of both runs over all steps: each step faint, its running mean strong.
 *
 * @param history for each step PER_STEP numbers, in nats per image
 * @param loss one of LOSSES
 * @param paints the colour of each run
 */
export function paintLossCurve(canvas, history, { at, words, beginsAtZero, tallest }, paints) {
  const { context, width, height } = fit(canvas);
  context.clearRect(0, 0, width, height);
  let low = Infinity, high = -Infinity;
  for (const entry of history) {
    low = Math.min(low, entry[2 + at], entry[6 + at]);
    high = Math.max(high, entry[2 + at], entry[6 + at]);
  }
  const lowest = history.length && !beginsAtZero ? 0.98 * low : 0;
  const highest = history.length ? Math.min(high, lowest + tallest) : 100;
  const x = scale(0, Math.max(history.length, 100), PLOT_ROOM.left, width - PLOT_ROOM.right);
  const y = scale(lowest, 1.05 * highest, height - PLOT_ROOM.bottom, PLOT_ROOM.top);
  axis(context, { scale: x, side: "bottom", at: height - PLOT_ROOM.bottom, label: "step" });
  axis(context, { scale: y, side: "left", at: PLOT_ROOM.left, label: `${words}, nats per image` });
  context.save();
  context.beginPath();
  context.rect(PLOT_ROOM.left, PLOT_ROOM.top, width, height - PLOT_ROOM.bottom - PLOT_ROOM.top);
  context.clip();
  const every = Math.ceil(history.length / width);
  paints.forEach((paint, arm) => {
    context.strokeStyle = paint;
    for (const [offset, alpha, thick] of [[at, 0.3, 1], [2 + at, 1, 2]]) {
      context.globalAlpha = alpha;
      context.lineWidth = thick;
      context.setLineDash(arm === 0 && thick === 2 ? [6, 3] : []);
      context.beginPath();
      for (let i = 0; i < history.length; i += every) {
        context.lineTo(x(i + 1), y(history[i][4 * arm + offset]));
      }
      context.stroke();
    }
  });
  context.restore();
}
