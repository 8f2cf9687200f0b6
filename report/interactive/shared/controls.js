/** Controls that show a state and change it, and the buttons that every page has. */

import { shown } from "./dom.js";

/**
 * Wire every element within the `roots` that has `data-state="name"` to the state, both ways:
 * ranges, number fields, selections, checkboxes and radio buttons. `<output data-shows="name">`
 * shows the value. A range with `data-scale="log"` moves by equal factors.
 *
 * @param changed called with the name of what the user has changed
 * @returns a function that shows the state, for when something else has changed it
 */
export function bind(roots, fields, state, changed) {
  const all = (selector) => roots.flatMap((root) => [...root.querySelectorAll(selector)]);
  const controls = all("[data-state]");
  for (const control of controls) {
    control.addEventListener("input", () => {
      const name = control.dataset.state, value = valueOf(control, fields[name]);
      if (value === undefined || !fields[name].isGood(value)) return;
      state[name] = value;
      refresh();
      changed(name);
    });
    if (control.type === "range") limit(control);
  }
  function refresh() {
    for (const control of controls) show(control, state[control.dataset.state]);
    for (const output of all("[data-shows]")) {
      output.textContent = inWords(state[output.dataset.shows]);
    }
  }
  return refresh;
}

function valueOf(control, field) {
  if (control.type === "checkbox") return control.checked;
  if (control.type === "radio") return control.checked ? field.read(control.value) : undefined;
  const value = field.read(control.value);
  return control.dataset.scale === "log" ? rounded(Math.exp(value)) : value;
}

/** Two digits are enough for what is chosen by hand, and make short links. */
const rounded = (x) => Number(x.toPrecision(2));

function limit(control) {
  if (control.dataset.scale !== "log") return;
  for (const end of ["min", "max"]) control[end] = Math.log(control[end]);
}

function show(control, value) {
  if (control.type === "checkbox") control.checked = value;
  else if (control.type === "radio") control.checked = control.value === value;
  else if (control.type !== "number" || Number(control.value) !== value) { // "01" may be typed
    control.value = control.dataset.scale === "log" ? Math.log(value) : value;
  }
  if (control.type === "range") control.setAttribute("aria-valuetext", inWords(value));
}

function inWords(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return shown(value, 0);
  return Math.abs(value) < 0.1 ? String(rounded(value)).replace("-", "\u2212") : shown(value);
}

/**
 * A button that copies a link; where the browser does not allow it, the link can be selected.
 *
 * @param link a function that returns the address
 */
export function shareButton(button, status, link, remark = () => "") {
  button.addEventListener("click", async () => {
    const address = link();
    try {
      await navigator.clipboard.writeText(address);
      status.replaceChildren(`Link copied. ${remark()}`);
    } catch {
      const field = document.createElement("input");
      Object.assign(field, { value: address, readOnly: true });
      field.setAttribute("aria-label", "Link");
      status.replaceChildren(`Copy this link: `, field, ` ${remark()}`);
      field.select();
    }
  });
}

/**
 * A button that saves canvases as one PNG, as they stand on the page.
 *
 * @param canvases a function that returns them, the lowest first; hidden ones are left out
 * @param name a function that returns the file's name, without its ending
 */
export function pictureButton(button, canvases, name) {
  button.addEventListener("click", () => {
    const shots = canvases().filter((canvas) => canvas.checkVisibility());
    const link = document.createElement("a");
    link.download = `${name()}.png`;
    link.href = picture(shots).toDataURL("image/png");
    link.click();
  });
}

const MARGIN = 16;

/** One canvas that looks like some canvases where they stand on the page, on its background. */
export function picture(canvases) {
  const places = canvases.map(inside), ratio = devicePixelRatio;
  const left = Math.min(...places.map((it) => it.left)) - MARGIN;
  const top = Math.min(...places.map((it) => it.top)) - MARGIN;
  const whole = document.createElement("canvas");
  whole.width = ratio * (Math.max(...places.map((it) => it.left + it.width)) + MARGIN - left);
  whole.height = ratio * (Math.max(...places.map((it) => it.top + it.height)) + MARGIN - top);
  const context = whole.getContext("2d");
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, whole.width, whole.height);
  context.setTransform(ratio, 0, 0, ratio, -ratio * left, -ratio * top);
  canvases.forEach((canvas, i) => {
    const { filter, imageRendering, opacity } = getComputedStyle(canvas), place = places[i];
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = imageRendering !== "pixelated";
    const shot = filter === "none" ? canvas : inverted(canvas);
    context.drawImage(shot, place.left, place.top, place.width, place.height);
  });
  return whole;
}

/** The place of a canvas's pixels in the window, within frame and padding. */
function inside(canvas) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const inset = canvas.clientLeft + parseFloat(getComputedStyle(canvas).padding);
  const [across, down] = [width, height].map((length) => length - 2 * inset);
  return { left: left + inset, top: top + inset, width: across, height: down };
}

/** Ink, which is black, in white. Not every browser's canvas has the filter of the style sheet. */
function inverted(canvas) {
  const copy = Object.assign(document.createElement("canvas"), {
    width: canvas.width,
    height: canvas.height,
  });
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0);
  context.globalCompositeOperation = "source-in";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, copy.width, copy.height);
  return copy;
}
