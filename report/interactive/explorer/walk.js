/** The section on ways between two digits. */

import { byId, shown, soon } from "../shared/dom.js";
import { ink } from "../shared/drawing.js";
import { offerCodes } from "./codes.js";
import { decode, model } from "./decoders.js";
import { between, length } from "./latent_space.js";

const FRAMES = 9, STEP = 30; // pixels from one frame to the next

/**
 * A picture on the way from one code to another, and nine of them in a row.
 *
 * @param settings from and to, numbers of test images; way; t
 * @returns a function that shows all settings, or the one whose name it gets
 */
export function walk(settings) {
  const { codes, labels } = model("vae");
  const picture = byId("walk-picture"), film = byId("walk-film");
  const ends = () => `from ${labels[settings.from]} to ${labels[settings.to]}`;
  const at = (t) => between(codes[settings.from], codes[settings.to], t, settings.way);

  function paint() {
    const z = at(settings.t);
    ink(picture, decode("vae", z));
    byId("walk-t").textContent = shown(settings.t);
    byId("walk-length").textContent = shown(length(z));
    picture.ariaLabel = `Decoded at ${shown(settings.t)} of the ${settings.way} way ${ends()}`;
  }
  function paintFilm() {
    for (let i = 0; i < FRAMES; i++) ink(film, decode("vae", at(i / (FRAMES - 1))), i * STEP);
    film.ariaLabel = `${FRAMES} steps of the ${settings.way} way ${ends()}`;
  }
  offerCodes(byId("walk-from"));
  offerCodes(byId("walk-to"));
  return (changed) => {
    if (!changed || ["from", "to", "way", "t"].includes(changed)) soon(paint);
    if (!changed || ["from", "to", "way"].includes(changed)) soon(paintFilm);
  };
}
