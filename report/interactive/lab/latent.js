/** The axis of z: for each picked point the true posterior, q, and the best Gaussian. */

import { colours, fit, scale } from "../shared/drawing.js";
import { byId, shown } from "../shared/dom.js";
import { encode } from "./vae.js";
import { densityOf } from "./toy.js";
import { isWalking, walkedTo } from "./plane.js";

const ROOM = { left: 26, right: 10, top: 8, bottom: 24 };
const REACHES = [4, 6, 9, 14, 20, 30, 50, 100];

const gaussian = (z, mu, sigma) =>
  Math.exp(-0.5 * ((z - mu) / sigma) ** 2) / (sigma * Math.sqrt(2 * Math.PI));

/** Paint a lane per picked point, and below them that of all codes together. */
export function paintLatent(world, view, settings, overlay) {
  const { context, width, height } = fit(byId("latent")), colour = colours();
  context.clearRect(0, 0, width, height);
  if (!view) return;
  const codes = encode(world.run.model, world.run.data, world.run.count);
  const farthest = Math.max(...Array.from(codes.mu, Math.abs));
  const reach = REACHES.find((each) => each > farthest + 1) ?? REACHES.at(-1);
  const x = scale(-reach, reach, ROOM.left, width - ROOM.right);
  const lanes = view.rows.length + 1;
  const lane = (height - ROOM.top - ROOM.bottom) / lanes;
  const floor = (i) => ROOM.top + (i + 1) * lane;

  view.rows.forEach((row, i) => {
    paintLane(context, view, row, i, x, floor(i), lane - 8, colour);
  });
  paintCodes(context, codes, x, floor(lanes - 1), lane - 8, reach, colour);
  paintAxis(context, x, reach, height, width, colour);
  const isEncoded = overlay && overlay.phase !== "data";
  if (isEncoded) paintDraws(context, overlay, x, floor(lanes - 1), colour);
  if (isWalking(view, settings)) {
    context.strokeStyle = colour.accent;
    context.lineWidth = 2;
    line(context, x(walkedTo(view, settings.walk)), ROOM.top, height - ROOM.bottom);
  }
}

function paintLane(context, view, row, i, x, floor, height, colour) {
  const { z } = view.there, density = densityOf(view, i);
  const hill = Math.max(...density), best = Math.exp(0.5 * row.best.logvar);
  const sigma = Math.exp(0.5 * row.logvar), peak = gaussian(0, 0, Math.min(sigma, best));
  const top = Math.max(hill, Math.min(peak, 2 * hill)); // a spike leaves its lane
  const y = (value) => floor - (height * value) / (1.05 * top);
  const curve = (values) => {
    context.beginPath();
    values.forEach(([at, value], n) => {
      if (n) context.lineTo(x(at), y(value));
      else context.moveTo(x(at), y(value));
    });
  };
  context.save();
  context.beginPath();
  context.rect(ROOM.left, floor - height, 2 * (x(0) - ROOM.left), height + 2);
  context.clip();
  const all = Array.from(z, (at, n) => [at, density[n]]);
  const inView = all.filter(([at]) => at >= x.inverse(ROOM.left) && at <= -x.inverse(ROOM.left));
  curve([[inView[0][0], 0], ...inView, [inView.at(-1)[0], 0]]);
  context.fillStyle = colour.posterior;
  context.globalAlpha = 0.45;
  context.fill();
  context.globalAlpha = 1;

  const normalCurve = (mu, s) =>
    curve(Array.from({ length: 121 }, (_, n) => mu + s * (n - 60) / 15)
      .map((at) => [at, gaussian(at, mu, s)]));
  context.lineWidth = 1.5;
  context.strokeStyle = colour.text;
  context.setLineDash([5, 4]);
  normalCurve(row.best.mu, best);
  context.stroke();
  context.setLineDash([]);
  context.lineWidth = 2.5;
  context.strokeStyle = colour.approximate;
  normalCurve(row.mu, sigma);
  context.stroke();
  context.restore();

  context.strokeStyle = colour.line;
  context.lineWidth = 1;
  level(context, x, floor);
  name(context, colour, String(i + 1), floor - height / 2);
  writeGap(context, colour, row, 2 * x(0) - ROOM.left, floor - height);
}

/** A point's gap in its two parts, nats: the best Gaussian's, and what the encoder adds. */
const gapInWords = ({ approximation, amortisation }) =>
  `gap ${shown(approximation)} + ${shown(amortisation)}`;

function writeGap(context, colour, row, right, top) {
  const words = gapInWords(row);
  context.font = "12px sans-serif";
  context.textAlign = "right";
  context.lineWidth = 3;
  context.strokeStyle = colour.page;
  context.strokeText(words, right, top + 10);
  context.fillStyle = colour.quiet;
  context.fillText(words, right, top + 10);
}

function name(context, colour, words, y, radius = 9) {
  context.fillStyle = colour.text;
  context.beginPath();
  context.arc(12, y, radius, 0, 2 * Math.PI);
  context.fill();
  context.fillStyle = colour.page;
  context.font = "600 12px sans-serif";
  context.textAlign = "center";
  context.fillText(words, 12, y + 4);
}

/** The mean of q over all points, filled, and the prior that it should match, as a line. */
function paintCodes(context, { mu, logvar }, x, floor, height, reach, colour) {
  const bins = 160, heights = new Float64Array(bins);
  const at = (i) => -reach + (2 * reach * (i + 0.5)) / bins, narrowest = (2 * reach) / bins;
  for (let n = 0; n < mu.length; n++) {
    const sigma = Math.max(Math.exp(0.5 * logvar[n]), narrowest);
    const from = Math.max(0, Math.floor(((mu[n] - 4 * sigma + reach) / (2 * reach)) * bins));
    const to = Math.min(bins - 1, Math.ceil(((mu[n] + 4 * sigma + reach) / (2 * reach)) * bins));
    for (let i = from; i <= to; i++) heights[i] += gaussian(at(i), mu[n], sigma) / mu.length;
  }
  const top = Math.max(gaussian(0, 0, 1), ...heights) * 1.1;
  const y = (value) => floor - (height * value) / top;
  context.fillStyle = colour.data;
  context.globalAlpha = 0.45;
  context.beginPath();
  context.moveTo(x(at(0)), floor);
  heights.forEach((value, i) => context.lineTo(x(at(i)), y(value)));
  context.lineTo(x(at(bins - 1)), floor);
  context.fill();
  context.globalAlpha = 1;
  context.strokeStyle = colour.text;
  context.lineWidth = 1;
  context.beginPath();
  for (let i = 0; i < bins; i++) context.lineTo(x(at(i)), y(gaussian(at(i), 0, 1)));
  context.stroke();
  name(context, colour, "all", floor - height / 2, 11);
}

function paintAxis(context, x, reach, height, width, colour) {
  const floor = height - ROOM.bottom;
  context.strokeStyle = colour.edge;
  level(context, x, floor);
  context.fillStyle = colour.quiet;
  context.font = "12px sans-serif";
  context.textAlign = "center";
  const gap = reach > 20 ? 20 : reach > 9 ? 5 : reach > 6 ? 3 : 2;
  for (let z = -Math.floor(reach / gap) * gap; z <= reach; z += gap) {
    context.fillText(String(z).replace("-", "\u2212"), x(z), height - 8);
  }
  context.font = "italic 12px sans-serif";
  context.fillText("z", x(0) + (x(gap) - x(0)) / 2, height - 8);
}

function level(context, x, y) {
  context.beginPath();
  context.moveTo(ROOM.left, y);
  context.lineTo(context.canvas.clientWidth - ROOM.right, y);
  context.stroke();
}

function line(context, x, top, bottom) {
  context.beginPath();
  context.moveTo(x, top);
  context.lineTo(x, bottom);
  context.stroke();
}

/** In slow motion: the means of q of the batch, and from the noise on the draws. */
function paintDraws(context, { phase, last }, x, floor, colour) {
  context.strokeStyle = phase === "encoder" ? colour.text : colour.approximate;
  context.lineWidth = 1.5;
  const shown = phase === "encoder" ? last.mu : last.z;
  for (const z of shown) line(context, x(z), floor - 12, floor);
}

/** What the axis shows, in words. */
export function latentInWords(view) {
  if (!view) return "Nothing to show yet";
  const each = view.rows.map((row, i) => {
    const sigma = Math.exp(0.5 * row.logvar);
    return (
      `Point ${i + 1}: q has mean ${shown(row.mu)} and width ${shown(sigma)}, the best Gaussian ` +
      `${shown(row.best.mu)} and ${shown(Math.exp(0.5 * row.best.logvar))}, ` +
      `${gapInWords(row)} nats`
    );
  });
  return each.join(". ");
}
