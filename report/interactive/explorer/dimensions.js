/** The section on single latent dimensions. */

import { byId, shown, soon } from "../shared/dom.js";
import { ink } from "../shared/drawing.js";
import { normal } from "../shared/random.js";
import { list, offerCodes } from "./codes.js";
import { decode, model } from "./decoders.js";
import { fromText, toText } from "./fields.js";
import { draws } from "./latent_space.js";

const UNUSED = 0.01; // nats

/**
 * Sliders for the dimensions, and the picture that is decoded from them.
 *
 * @param settings code, the number of a test image; z, numbers as text, "" for the code's; unused,
 *   whether the unused dimensions are open
 * @param changed called when the user has changed a setting
 * @returns a function that shows all settings, or the one whose name it gets
 */
export function latentDimensions(settings, changed) {
  const { size, kl, codes } = model("vae");
  const z = new Float32Array(size);
  const canvas = byId("dimensions-picture"), code = byId("dimensions-code");
  const unused = byId("unused-dimensions").parentElement;
  const order = Array.from(kl.keys()).sort((a, b) => kl[b] - kl[a]);

  const rows = order.map((k, i) => {
    const row = byId("dimension").content.firstElementChild.cloneNode(true);
    const input = row.querySelector("input"), value = row.querySelector(".value");
    row.querySelector("sub").textContent = i + 1; // as in Figure 9.2
    row.querySelector(".nats").textContent = `${kl[k].toFixed(kl[k] < UNUSED ? 4 : 2)} nats`;
    row.querySelector(".bar span").style.width = `${100 * kl[k] / kl[order[0]]}%`;
    input.id = `z${k}`;
    row.querySelector("label").htmlFor = input.id;
    input.addEventListener("input", () => {
      z[k] = input.value;
      set(z);
    });
    byId(kl[k] < UNUSED ? "unused-dimensions" : "used-dimensions").append(row);
    return () => {
      input.value = z[k];
      value.textContent = shown(z[k]);
      input.setAttribute("aria-valuetext", value.textContent);
    };
  });
  const many = kl.filter((nats) => nats < UNUSED).length;
  byId("unused-summary").textContent = `${many} unused dimensions, below ${UNUSED} nats each`;

  function paint() {
    ink(canvas, decode("vae", z));
    rows.forEach((show) => show());
    canvas.ariaLabel = `Decoded from z (${list(order.map((k) => z[k]))})`;
  }
  function set(values) {
    settings.z = toText(values);
    show();
    changed();
  }
  function show(changed) {
    if (changed) return; // by a control of another section
    z.set(settings.z ? fromText(settings.z) : codes[settings.code]);
    code.value = settings.z ? "" : settings.code;
    unused.open = settings.unused;
    soon(paint);
  }
  offerCodes(code);
  code.addEventListener("change", () => {
    if (!code.value) return;
    Object.assign(settings, { code: Number(code.value), z: "" });
    show();
    changed();
  });
  // a toggle is heard of only later, when another control may have shown the old setting again
  unused.querySelector("summary").addEventListener("click", () => {
    settings.unused = !unused.open;
  });
  unused.addEventListener("toggle", () => {
    settings.unused = unused.open;
    changed();
  });
  byId("dimensions-reset").addEventListener("click", () => set(new Float32Array(size)));
  byId("dimensions-random").addEventListener("click", () =>
    set(draws(normal(Math.random() * 2 ** 32), size)));
  return show;
}
