/** The plane: data, the decoder's curve with its width, picked points, samples. */

import { colours, fit, scale } from "../shared/drawing.js";
import { byId, shown } from "../shared/dom.js";
import { decode } from "./vae.js";
import { pointOf, samples } from "./toy.js";

export const REACH = 2.6;
const PRIOR = 3; // standard deviations of z for which the curve is drawn in full

/** Scales from the plane to a square canvas of some size. */
export function axes(size) {
  return { x: scale(-REACH, REACH, 0, size), y: scale(-REACH, REACH, size, 0) };
}

/**
 * Paint the plane.
 *
 * @param view what `look` returned for the picked points
 * @param overlay of slow motion: null, or {phase, last}, what the step computes
 */
export function paintPlane(world, view, settings, overlay) {
  const canvas = byId("plane"), { context, width } = fit(canvas);
  const colour = colours(), to = axes(width), { run } = world;
  context.clearRect(0, 0, width, width);
  const dot = (x, y, radius) => {
    context.beginPath();
    context.arc(to.x(x), to.y(y), radius, 0, 2 * Math.PI);
    context.fill();
  };

  context.fillStyle = colour.data;
  context.globalAlpha = 0.45;
  for (let i = 0; i < run.count; i++) dot(...pointOf(run, i), 2);
  context.globalAlpha = 1;

  if (settings.source !== "none") {
    context.fillStyle = colour.decoder;
    context.globalAlpha = 0.7;
    const drawn = samples(world, settings.source, settings.seed);
    for (let i = 0; i < drawn.length; i += 2) dot(drawn[i], drawn[i + 1], 1.8);
    context.globalAlpha = 1;
  }
  if (view) {
    paintCurve(context, view, to, colour, Math.exp(run.model.logSigma[0]), width);
    view.rows.forEach((row, i) => paintPick(context, run.model, row, i, to, colour));
  }
  if (overlay) paintStep(context, overlay, to, colour, dot);
  if (view && isWalking(view, settings)) paintWalk(context, run.model, view, settings, to, colour);
}

function paintCurve(context, { there: { z, means } }, to, colour, sigma, width) {
  const trace = (inside) => {
    context.beginPath();
    let isDown = false;
    for (let i = 0; i < z.length; i++) {
      if (Math.abs(z[i]) <= PRIOR !== inside) {
        isDown = false;
        continue;
      }
      const at = [to.x(means[2 * i]), to.y(means[2 * i + 1])];
      if (isDown) context.lineTo(...at);
      else context.moveTo(...at);
      isDown = true;
    }
    context.stroke();
  };
  context.strokeStyle = colour.decoder;
  context.lineJoin = context.lineCap = "round";
  context.globalAlpha = 0.15;
  context.lineWidth = Math.max(2, (2 * sigma * width) / (2 * REACH));
  trace(true);
  context.globalAlpha = 1;
  context.lineWidth = 2.5;
  trace(true);
  context.lineWidth = 1;
  context.setLineDash([2, 5]);
  trace(false); // where the prior hardly ever draws
  context.setLineDash([]);

  context.fillStyle = colour.decoder;
  const named = []; // a short curve has room for few labels
  for (const mark of [0, -1, 1, -2, 2]) {
    const i = Math.round((mark - z[0]) / (z[1] - z[0]));
    const x = to.x(means[2 * i]), y = to.y(means[2 * i + 1]);
    context.beginPath();
    context.arc(x, y, 3.5, 0, 2 * Math.PI);
    context.fill();
    if (named.some((other) => Math.hypot(x - other[0], y - other[1]) < 18)) continue;
    label(context, colour, String(mark).replace("-", "\u2212"), x, y);
    named.push([x, y]);
  }
}

function label(context, colour, words, x, y) {
  context.font = "600 12px sans-serif";
  context.textAlign = "left";
  context.lineWidth = 3;
  context.strokeStyle = colour.page;
  context.strokeText(words, x + 6, y - 6);
  context.fillText(words, x + 6, y - 6);
  context.strokeStyle = colour.decoder;
}

/** A picked point with its number, and the line to what the mean of its code is decoded to. */
function paintPick(context, model, row, i, to, colour) {
  const [x, y] = row.point, mean = decode(model, Float64Array.of(row.mu), 1);
  context.strokeStyle = colour.approximate;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(to.x(x), to.y(y));
  context.lineTo(to.x(mean[0]), to.y(mean[1]));
  context.stroke();
  context.fillStyle = colour.text;
  context.beginPath();
  context.arc(to.x(x), to.y(y), 9, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = colour.page;
  context.font = "600 12px sans-serif";
  context.textAlign = "center";
  context.fillText(String(i + 1), to.x(x), to.y(y) + 4);
}

/** Where a step of training is: its batch, and from the decoder on what becomes of it. */
function paintStep(context, { phase, last }, to, colour, dot) {
  const isDecoded = ["decoder", "loss", "gradients"].includes(phase);
  context.fillStyle = colour.text;
  for (let i = 0; i < last.rows; i++) dot(last.x[2 * i], last.x[2 * i + 1], 3);
  if (!isDecoded) return;
  context.strokeStyle = colour.approximate;
  context.lineWidth = 1;
  context.fillStyle = colour.approximate;
  const samples = last.z.length / last.rows;
  for (let i = 0; i < last.rows; i++) {
    const from = 2 * i, mean = 2 * i * samples; // of the first sample
    context.beginPath();
    context.moveTo(to.x(last.x[from]), to.y(last.x[from + 1]));
    context.lineTo(to.x(last.decoded[mean]), to.y(last.decoded[mean + 1]));
    context.stroke();
    dot(last.decoded[mean], last.decoded[mean + 1], 2);
  }
}

function paintWalk(context, model, view, settings, to, colour) {
  const z = walkedTo(view, settings.walk), mean = decode(model, Float64Array.of(z), 1);
  context.strokeStyle = colour.accent;
  context.lineWidth = 3;
  context.beginPath();
  context.arc(to.x(mean[0]), to.y(mean[1]), 7, 0, 2 * Math.PI);
  context.stroke();
}

/** Whether the slider between the first two picked points has been moved. */
export const isWalking = ({ rows }, { walk }) => rows.length > 1 && walk > 0;

/** z at a share of the way between the codes of the first two picked points. */
export function walkedTo({ rows }, share) {
  return (1 - share) * rows[0].mu + share * rows[1].mu;
}

/** What the plane shows, in words. */
export function planeInWords({ run }, view, settings) {
  const count = `${run.count} points`;
  if (!view) return `${count}; draw at least three`;
  const drawn = settings.source === "none" ? "" : ", with 200 samples of the model";
  const place = (point) => Array.from(point, (x) => shown(x)).join(", ");
  const where = view.rows.map(({ point }, i) => `${i + 1} at ${place(point)}`);
  const ends = [-2, 2].map((z) => place(decode(run.model, Float64Array.of(z), 1)));
  return (
    `${count} and the decoder's curve from (${ends[0]}) at z = \u22122 to (${ends[1]}) at z = 2, ` +
    `width ${shown(Math.exp(run.model.logSigma[0]))}${drawn}. Picked: ${where.join("; ")}`
  );
}
