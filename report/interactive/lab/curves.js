/** log p(x), the ELBO, and the gap between them in its two parts, over the steps of a run. */

import { axis, colours, fit, scale } from "../shared/drawing.js";
import { byId, shown } from "../shared/dom.js";

const ROOM = { left: 44, right: 24, top: 10, bottom: 28 };
const DEEPEST = 8; // nats below the best log p(x); an ELBO below leaves the picture,
const EARLY = 0.04; // and so do the first steps, a share of all

export function paintCurves({ history, run }) {
  const { context, width, height } = fit(byId("curves")), colour = colours();
  context.clearRect(0, 0, width, height);
  if (!history.length) return;
  const best = Math.max(...history.map(({ evidence }) => evidence));
  const settled = history.filter(({ step }) => step >= EARLY * run.step);
  const lowest = Math.max(Math.min(...settled.map(({ elbo }) => elbo)), best - DEEPEST);
  const room = 0.05 * (best - lowest) + 0.02;
  const x = scale(0, Math.max(run.step, 100), ROOM.left, width - ROOM.right);
  const y = scale(lowest - room, best + room, height - ROOM.bottom, ROOM.top);
  axis(context, { scale: x, side: "bottom", at: height - ROOM.bottom, label: "step" });
  axis(context, { scale: y, side: "left", at: ROOM.left, label: "nats" });

  context.save();
  context.beginPath();
  context.rect(ROOM.left, ROOM.top, x.high - x.low, y.low - y.high);
  context.clip();
  const entries = thinned(history, width);
  const middle = ({ elbo, amortisation }) => elbo + amortisation;
  const low = ({ elbo }) => elbo, high = ({ evidence }) => evidence;
  fill(context, entries, low, middle, x, y, colour.amortisation);
  fill(context, entries, middle, high, x, y, colour.approximation);
  stroke(context, entries, high, x, y, colour.evidence);
  stroke(context, entries, low, x, y, colour.elbo);
  context.restore();
}

/** At most an entry per pixel, and the last one. */
function thinned(history, width) {
  const every = Math.ceil(history.length / width);
  return history.filter((_, i) => i % every === 0 || i === history.length - 1);
}

function fill(context, entries, low, high, x, y, colour) {
  context.beginPath();
  for (const entry of entries) context.lineTo(x(entry.step), y(high(entry)));
  for (const entry of entries.toReversed()) context.lineTo(x(entry.step), y(low(entry)));
  context.fillStyle = colour;
  context.globalAlpha = 0.5;
  context.fill();
  context.globalAlpha = 1;
}

function stroke(context, entries, value, x, y, colour) {
  context.beginPath();
  for (const entry of entries) context.lineTo(x(entry.step), y(value(entry)));
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.stroke();
}

export function curvesInWords({ history }) {
  if (!history.length) return "No steps yet";
  const first = history[0], last = history.at(-1);
  return (
    `From step ${first.step} to ${last.step}: log p(x) from ${shown(first.evidence)} to ` +
    `${shown(last.evidence)}, the ELBO from ${shown(first.elbo)} to ${shown(last.elbo)} nats`
  );
}
