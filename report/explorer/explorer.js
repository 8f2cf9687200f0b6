"use strict";

// ---- The decoders ------------------------------------------------------------------------------

/** The tensors of a safetensors file: the length of a header, the header in JSON, the numbers. */
function tensors(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  const begin = 8 + new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, begin)));
  delete header.__metadata__;
  const kinds = { F32: Float32Array, U8: Uint8Array };
  const read = ({ dtype, data_offsets: [from, to] }) =>
    new kinds[dtype](bytes.buffer.slice(begin + from, begin + to));
  return Object.fromEntries(Object.entries(header).map(([name, about]) => [name, read(about)]));
}

const unpacked = {};

/** One of the decoders "vae", "vae_2d" and "gan", with what the page knows of its latent space. */
function model(name) {
  return (unpacked[name] ??= unpack(tensors(document.getElementById(name).textContent)));
}

function unpack({ slope: [slope], kl, codes, labels, ...own }) {
  const layers = [];
  while (`${layers.length}.weight` in own) {
    layers.push({ weight: own[`${layers.length}.weight`], bias: own[`${layers.length}.bias`] });
  }
  const size = layers[0].weight.length / layers[0].bias.length;
  const code = (_, i) => codes.subarray(i * size, (i + 1) * size);
  return { layers, slope, size, kl, labels, codes: labels && Array.from(labels, code) };
}

/** The 784 pixels, in [0, 1], that a decoder makes of the latent numbers z. */
function decode(name, z) {
  const { layers, slope } = model(name);
  let h = Float32Array.from(z);
  for (const layer of layers) {
    const below = h, { weight, bias } = layer, isLast = layer === layers.at(-1);
    h = bias.map((sum, row) => {
      const begin = row * below.length;
      for (let i = 0; i < below.length; i++) sum += weight[begin + i] * below[i];
      if (isLast) return 1 / (1 + Math.exp(-sum));
      return sum < 0 ? slope * sum : sum;
    });
  }
  return h;
}

// ---- Numbers -----------------------------------------------------------------------------------

/** Standard normal numbers, the same for the same seed: mulberry32 and Box-Muller. */
function* normals(seed) {
  const uniform = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let bits = Math.imul(seed ^ (seed >>> 15), seed | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return (((bits ^ (bits >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
  for (;;) yield Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

function draws(source, size) {
  return Float32Array.from({ length: size }, () => source.next().value);
}

/** Share of a standard normal below z, to 1e-7 (Abramowitz & Stegun 7.1.26). */
function cdf(z) {
  const x = Math.abs(z) / Math.SQRT2, t = 1 / (1 + 0.3275911 * x);
  const series = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
  const tail = series.reduce((sum, factor) => sum * t + factor, 0) * t * Math.exp(-x * x) / 2;
  return z < 0 ? tail : 1 - tail;
}

/** The z below which lies the share p, within [-3, 3], where the map ends. */
function quantile(p) {
  let low = -3, high = 3;
  while (high - low > 1e-7) {
    const middle = (low + high) / 2;
    if (cdf(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

const length = (z) => Math.hypot(...z);

/** The point at t of the way from one code to another: a line, or an arc about the origin. */
function between(from, to, t, way) {
  const cosine = from.reduce((sum, x, i) => sum + x * to[i], 0) / (length(from) * length(to));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const arc = way === "spherical" && Math.sin(angle) > 1e-6; // the arc of one direction is a line
  const share = (s) => (arc ? Math.sin(s * angle) / Math.sin(angle) : s);
  return from.map((x, i) => share(1 - t) * x + share(t) * to[i]);
}

// ---- Drawing -----------------------------------------------------------------------------------

const SIDE = 28, GAP = 2;
const byId = (id) => document.getElementById(id);
const list = (z) => Array.from(z, shown).join(", ");

/** A number with two digits, with a real minus, and never as "-0.00". */
function shown(x) {
  return (Math.round(100 * x) / 100 || 0).toFixed(2).replace("-", "\u2212");
}

/** Put an image on a canvas as ink: opacity is the pixel, and the style sheet has the colour. */
function draw(canvas, pixels, left = 0, top = 0) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  for (let i = 0; i < pixels.length; i++) image.data[4 * i + 3] = 255 * pixels[i];
  context.putImageData(image, left, top);
}

const waiting = new Set();

/** Call a function with the next frame, once, however often it is asked for until then. */
function soon(paint) {
  if (!waiting.size) {
    requestAnimationFrame(() => {
      const now = [...waiting];
      waiting.clear();
      for (const each of now) each();
    });
  }
  waiting.add(paint);
}

/** Let the browser answer the user before the next piece of a long work. */
const pause = () => new Promise((resume) => setTimeout(resume));

/** Fill a choice with the codes of test images, five of each digit. */
function offerCodes(select) {
  const seen = Array(10).fill(0);
  const { labels } = model("vae");
  labels.forEach((digit, i) => select.add(new Option(`${digit}, image ${++seen[digit]}`, i)));
}

// ---- Latent dimensions -------------------------------------------------------------------------

const UNUSED = 0.01; // nats

function latentDimensions() {
  const { size, kl, codes } = model("vae");
  const z = new Float32Array(size);
  const canvas = byId("dimensions-picture"), code = byId("dimensions-code");
  const order = Array.from(kl.keys()).sort((a, b) => kl[b] - kl[a]);

  const rows = order.map((k, i) => {
    const row = byId("dimension").content.firstElementChild.cloneNode(true);
    const input = row.querySelector("input"), value = row.querySelector(".value");
    row.querySelector("sub").textContent = i + 1; // as in Figure 7.2
    row.querySelector(".nats").textContent = `${kl[k].toFixed(kl[k] < UNUSED ? 4 : 2)} nats`;
    row.querySelector(".bar span").style.width = `${100 * kl[k] / kl[order[0]]}%`;
    input.id = `z${k}`;
    row.querySelector("label").htmlFor = input.id;
    input.addEventListener("input", () => {
      z[k] = input.value;
      code.value = "";
      soon(paint);
    });
    byId(kl[k] < UNUSED ? "unused-dimensions" : "used-dimensions").append(row);
    return () => {
      input.value = z[k];
      value.textContent = shown(z[k]);
      input.setAttribute("aria-valuetext", value.textContent);
    };
  });
  const unused = kl.filter((nats) => nats < UNUSED).length;
  byId("unused-summary").textContent = `${unused} unused dimensions, below ${UNUSED} nats each`;

  function paint() {
    draw(canvas, decode("vae", z));
    rows.forEach((show) => show());
    canvas.ariaLabel = `Decoded from z (${list(order.map((k) => z[k]))})`;
  }
  function go(values, chosen = "") {
    z.set(values);
    code.value = chosen;
    soon(paint);
  }
  offerCodes(code);
  code.addEventListener("change", () => code.value && go(codes[code.value], code.value));
  byId("dimensions-reset").addEventListener("click", () => go(new Float32Array(size)));
  byId("dimensions-random").addEventListener("click", () =>
    go(draws(normals(Math.random() * 2 ** 32), size)));
  z.set(codes[0]);
  code.value = 0;
  paint();
}

// ---- A walk between two digits -----------------------------------------------------------------

const FRAMES = 9;

function walk() {
  const { codes, labels } = model("vae");
  const [from, to] = [byId("walk-from"), byId("walk-to")];
  const position = byId("walk-position"), picture = byId("walk-picture"), film = byId("walk-film");
  const ends = () => `from ${labels[from.value]} to ${labels[to.value]}`;
  const way = () => document.querySelector("[name=way]:checked").value;
  const at = (t) => between(codes[from.value], codes[to.value], t, way());

  function paint() {
    const t = Number(position.value), z = at(t);
    draw(picture, decode("vae", z));
    byId("walk-t").textContent = shown(t);
    byId("walk-length").textContent = shown(length(z));
    picture.ariaLabel = `Decoded at ${shown(t)} of the ${way()} way ${ends()}`;
  }
  function paintFilm() {
    for (let i = 0; i < FRAMES; i++) {
      draw(film, decode("vae", at(i / (FRAMES - 1))), i * (SIDE + GAP));
    }
    film.ariaLabel = `${FRAMES} steps of the ${way()} way ${ends()}`;
  }
  offerCodes(from);
  offerCodes(to);
  from.value = labels.indexOf(3);
  to.value = labels.indexOf(8);
  position.addEventListener("input", () => soon(paint));
  for (const choice of [from, to, ...document.querySelectorAll("[name=way]")]) {
    choice.addEventListener("change", () => [paint, paintFilm].forEach(soon));
  }
  paint();
  paintFilm();
}

// ---- The plane of two latents ------------------------------------------------------------------

const CELLS = 20;
const COLOURS = [
  "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd",
  "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
];

async function plane() {
  const { codes, labels } = model("vae_2d");
  const map = byId("map"), grid = byId("map-grid");
  const marker = byId("map-marker"), picture = byId("map-picture");
  const inputs = [byId("map-0"), byId("map-1")];
  const z = new Float32Array(2);

  function paint() {
    draw(picture, decode("vae_2d", z));
    inputs.forEach((input, k) => {
      input.value = z[k];
      input.setAttribute("aria-valuetext", shown(z[k]));
    });
    place(marker, z);
    byId("map-z").textContent = list(z);
    picture.ariaLabel = `Decoded from z (${list(z)})`;
  }
  inputs.forEach((input, k) => input.addEventListener("input", () => {
    z[k] = input.value;
    soon(paint);
  }));

  function follow(event) {
    const box = grid.getBoundingClientRect();
    z[0] = quantile((event.clientX - box.left) / box.width);
    z[1] = quantile((box.bottom - event.clientY) / box.height);
    soon(paint);
  }
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    follow(event);
  });
  map.addEventListener("pointermove", (event) => {
    if (map.hasPointerCapture(event.pointerId)) follow(event);
  });

  paint();
  showCodes(codes, labels);
  const most = shown(quantile(1 - 0.5 / CELLS));
  grid.ariaLabel = `${CELLS} by ${CELLS} decoded pictures, up to ${most} from 0 in both directions`;
  for (let row = 0; row < CELLS; row++) {
    await pause();
    for (let column = 0; column < CELLS; column++) {
      const shares = [(column + 0.5) / CELLS, 1 - (row + 0.5) / CELLS];
      draw(grid, decode("vae_2d", shares.map(quantile)), column * SIDE, row * SIDE);
    }
  }
}

/** Put an element where a point of the latent plane lies on the map. */
function place(element, z) {
  element.style.left = `${100 * cdf(z[0])}%`;
  element.style.bottom = `${100 * cdf(z[1])}%`;
}

function showCodes(codes, labels) {
  const canvas = byId("map-codes"), names = byId("map-names"), digits = byId("map-digits");
  const context = canvas.getContext("2d"), show = byId("map-show");
  const isChosen = (digit) => byId(`digit-${digit}`).checked;

  function paint() {
    context.clearRect(0, 0, canvas.width, canvas.height);
    codes.forEach((z, i) => {
      if (!isChosen(labels[i])) return;
      context.fillStyle = COLOURS[labels[i]];
      context.beginPath();
      context.arc(cdf(z[0]) * canvas.width, (1 - cdf(z[1])) * canvas.height, 6, 0, 2 * Math.PI);
      context.fill();
    });
    for (const name of names.children) name.hidden = !isChosen(name.textContent);
    const which = COLOURS.flatMap((_, digit) => (isChosen(digit) ? [digit] : [])).join(", ");
    canvas.ariaLabel = `Codes of test images of the digits ${which}`;
  }
  COLOURS.forEach((colour, digit) => {
    const chip = byId("chip").content.firstElementChild.cloneNode(true);
    const box = chip.querySelector("input");
    box.id = `digit-${digit}`;
    box.addEventListener("change", () => soon(paint));
    chip.querySelector(".swatch").style.background = colour;
    chip.append(digit);
    digits.append(chip);

    const own = codes.filter((_, i) => labels[i] === digit);
    const median = [0, 1].map((k) => own.map((z) => z[k]).sort((a, b) => a - b)[own.length >> 1]);
    const name = document.createElement("span");
    name.textContent = digit;
    place(name, median);
    names.append(name);
  });
  byId("map-count").textContent = codes.length.toLocaleString("en");
  const toggle = () => {
    for (const part of [canvas, names, digits]) part.hidden = !show.checked;
    soon(paint);
  };
  show.addEventListener("change", toggle);
  toggle();
}

// ---- VAE and GAN on the same draws -------------------------------------------------------------

const ROWS = 5;

function sameDraws() {
  const seed = byId("draws-seed");

  function paint() {
    const source = normals(Number(seed.value));
    for (let i = 0; i < ROWS ** 2; i++) {
      const z = draws(source, model("vae").size);
      const left = (i % ROWS) * (SIDE + GAP), top = Math.floor(i / ROWS) * (SIDE + GAP);
      for (const name of ["vae", "gan"]) draw(byId(`draws-${name}`), decode(name, z), left, top);
    }
    for (const name of ["vae", "gan"]) {
      byId(`draws-${name}`).ariaLabel =
        `${ROWS ** 2} pictures by the ${name.toUpperCase()} from the draws of seed ${seed.value}`;
    }
  }
  seed.addEventListener("input", () => soon(paint));
  byId("draws-again").addEventListener("click", () => {
    seed.value = Number(seed.value) + 1;
    soon(paint);
  });
  paint();
}

// ---- The page, the first picture first ---------------------------------------------------------

async function begin() {
  latentDimensions();
  performance.mark("first picture");
  await pause();
  walk();
  await pause();
  sameDraws();
  await pause();
  await plane();
}

/**
 * For tests: `model(name)` has the layers, codes and labels, `decode(name, z)` is what every
 * picture is made by, `normals(seed)` is where draws come from, and `ready` resolves when all
 * pictures are there.
 */
window.explorer = { model, decode, normals, ready: begin() };
