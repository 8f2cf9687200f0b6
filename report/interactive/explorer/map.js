/** The section on the plane of two latents. */

import { byId, pause, shown, soon } from "../shared/dom.js";
import { CLASS_COLOURS, ink } from "../shared/drawing.js";
import { list } from "./codes.js";
import { decode, model } from "./decoders.js";
import { cdf, quantile } from "./latent_space.js";

const CELLS = 20, SIDE = 28;

/**
 * A map of what the decoder with two latents draws, and the point on it that is decoded.
 *
 * @param settings z1, z2; codes, whether those of test images are shown; hidden, digits as text
 * @param changed called when the user has changed a setting
 * @returns show, a function that shows all settings or the one whose name it gets, and whole, a
 *   promise of the whole map
 */
export function plane(settings, changed) {
  const { codes, labels } = model("vae_2d");
  const map = byId("map"), grid = byId("map-grid");
  const marker = byId("map-marker"), picture = byId("map-picture");

  function paint() {
    const z = Float32Array.of(settings.z1, settings.z2);
    ink(picture, decode("vae_2d", z));
    place(marker, z);
    byId("map-z").textContent = list(z);
    picture.ariaLabel = `Decoded from z (${list(z)})`;
  }
  function follow(event) {
    const box = grid.getBoundingClientRect();
    settings.z1 = quantile((event.clientX - box.left) / box.width);
    settings.z2 = quantile((box.bottom - event.clientY) / box.height);
    soon(paint);
    changed();
  }
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    follow(event);
  });
  map.addEventListener("pointermove", (event) => {
    if (map.hasPointerCapture(event.pointerId)) follow(event);
  });
  const paintCodes = codesOnMap(codes, labels, settings, changed);
  const show = (name) => {
    if (!name || ["z1", "z2"].includes(name)) soon(paint);
    if (!name || name === "codes") soon(paintCodes);
  };
  return { show, whole: paintMap(grid) };
}

async function paintMap(grid) {
  const most = shown(quantile(1 - 0.5 / CELLS));
  grid.ariaLabel = `${CELLS} by ${CELLS} decoded pictures, up to ${most} from 0 in both directions`;
  for (let row = 0; row < CELLS; row++) {
    await pause();
    for (let column = 0; column < CELLS; column++) {
      const shares = [(column + 0.5) / CELLS, 1 - (row + 0.5) / CELLS];
      ink(grid, decode("vae_2d", shares.map(quantile)), column * SIDE, row * SIDE);
    }
  }
}

/** Put an element where a point of the latent plane lies on the map. */
function place(element, z) {
  element.style.left = `${100 * cdf(z[0])}%`;
  element.style.bottom = `${100 * cdf(z[1])}%`;
}

function codesOnMap(codes, labels, settings, changed) {
  const canvas = byId("map-codes"), names = byId("map-names"), digits = byId("map-digits");
  const context = canvas.getContext("2d");
  const isChosen = (digit) => !settings.hidden.includes(digit);
  const boxes = CLASS_COLOURS.map((colour, digit) => {
    const chip = byId("chip").content.firstElementChild.cloneNode(true);
    const box = chip.querySelector("input");
    box.id = `digit-${digit}`;
    box.addEventListener("change", () => {
      settings.hidden = boxes.flatMap((each, i) => (each.checked ? [] : [i])).join("");
      soon(paint);
      changed();
    });
    chip.querySelector(".swatch").style.background = colour;
    chip.append(digit);
    digits.append(chip);

    const own = codes.filter((_, i) => labels[i] === digit);
    const median = [0, 1].map((k) => own.map((z) => z[k]).sort((a, b) => a - b)[own.length >> 1]);
    const name = document.createElement("span");
    name.textContent = digit;
    place(name, median);
    names.append(name);
    return box;
  });
  byId("map-count").textContent = codes.length.toLocaleString("en");

  function paint() {
    for (const part of [canvas, names, digits]) part.hidden = !settings.codes;
    boxes.forEach((box, digit) => (box.checked = isChosen(digit)));
    context.clearRect(0, 0, canvas.width, canvas.height);
    codes.forEach((z, i) => {
      if (!isChosen(labels[i])) return;
      context.fillStyle = CLASS_COLOURS[labels[i]];
      context.beginPath();
      context.arc(cdf(z[0]) * canvas.width, (1 - cdf(z[1])) * canvas.height, 6, 0, 2 * Math.PI);
      context.fill();
    });
    for (const name of names.children) name.hidden = !isChosen(name.textContent);
    const which = boxes.flatMap((_, digit) => (isChosen(digit) ? [digit] : [])).join(", ");
    canvas.ariaLabel = `Codes of test images of the digits ${which}`;
  }
  return paint;
}
