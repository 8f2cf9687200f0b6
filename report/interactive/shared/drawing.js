/** Drawing on canvases: images as ink, scales, axes, and the page's colours. */

const SIDE = 28;

/** Ten colours for ten classes. */
export const CLASS_COLOURS = [
  "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
  "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
];

/** Put an image on a canvas as ink: opacity is the pixel, and the style sheet has the colour. */
export function ink(canvas, pixels, left = 0, top = 0) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  for (let i = 0; i < pixels.length; i++) image.data[4 * i + 3] = 255 * pixels[i];
  context.putImageData(image, left, top);
}

/**
 * A canvas ready to be drawn on in CSS pixels, as sharp as the screen.
 *
 * @returns context, width and height
 */
export function fit(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas, ratio = devicePixelRatio;
  const [across, down] = [width, height].map((length) => Math.round(length * ratio));
  if (canvas.width !== across || canvas.height !== down) {
    Object.assign(canvas, { width: across, height: down });
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height };
}

const NAMES = [
  "page", "text", "quiet", "line", "edge", "accent", "data", "decoder", "posterior", "approximate",
  "evidence", "elbo", "approximation", "amortisation",
];

/** The colours of the page's style, by their names, as they are in the present theme. */
export function colours() {
  const theme = document.documentElement.dataset.theme;
  const isDark = theme === "dark"
    || (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  return (read[isDark] ??= Object.fromEntries(NAMES.map((name) => [name, colour(name)])));
}

const read = {};

/** The colour that a property has now; light-dark() is resolved only where it is used. */
function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** A straight line from [from, to] to [low, high], and the way back as `inverse`. */
export function scale(from, to, low, high) {
  const slope = (high - low) / (to - from);
  const forward = (value) => low + (value - from) * slope;
  const inverse = (at) => from + (at - low) / slope;
  return Object.assign(forward, { inverse, from, to, low, high });
}

const ROUNDING = 1e-9; // an end is a mark as well where its quotient is a little off: 0.6 / 0.2

/** About so many round numbers between two. */
export function ticks(from, to, many = 5) {
  const raw = (to - from) / many, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((each) => each * power >= raw);
  const first = Math.ceil(from / step - ROUNDING), last = Math.floor(to / step + ROUNDING);
  return Array.from({ length: last - first + 1 }, (_, i) => {
    return Number(((first + i) * step).toPrecision(10));
  });
}

/** An axis with round numbers: below a picture ("bottom") or at its left ("left"). */
export function axis(context, { scale: to, side, at, label }) {
  const { quiet, edge } = colours(), isBelow = side === "bottom";
  context.strokeStyle = edge;
  context.fillStyle = quiet;
  context.lineWidth = 1;
  context.font = "12px sans-serif";
  context.beginPath();
  context.moveTo(...(isBelow ? [to.low, at] : [at, to.low]));
  context.lineTo(...(isBelow ? [to.high, at] : [at, to.high]));
  context.stroke();
  context.textAlign = isBelow ? "center" : "right";
  for (const value of ticks(to.from, to.to)) {
    const words = value.toLocaleString("en").replace("-", "\u2212"), place = to(value);
    if (isBelow) context.fillText(words, place, at + 16);
    else context.fillText(words, at - 5, place + 4);
  }
  context.font = "italic 12px sans-serif";
  context.textAlign = isBelow ? "right" : "left";
  if (isBelow) context.fillText(label, to.high, at - 6);
  else context.fillText(label, at + 5, to.high + 10);
}
