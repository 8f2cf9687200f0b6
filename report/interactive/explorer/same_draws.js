/** The section on samples of VAE and GAN from the same draws. */

import { byId, soon } from "../shared/dom.js";
import { ink } from "../shared/drawing.js";
import { normal } from "../shared/random.js";
import { decode, model } from "./decoders.js";
import { draws } from "./latent_space.js";

const ROWS = 5, STEP = 30; // pixels from one picture to the next

/**
 * Twenty-five pictures of each model.
 *
 * @param settings seed
 * @returns a function that shows all settings, or the one whose name it gets
 */
export function sameDraws(settings) {
  function paint() {
    const source = normal(settings.seed);
    for (let i = 0; i < ROWS ** 2; i++) {
      const z = draws(source, model("vae").size);
      const left = (i % ROWS) * STEP, top = Math.floor(i / ROWS) * STEP;
      for (const name of ["vae", "gan"]) ink(byId(`draws-${name}`), decode(name, z), left, top);
    }
    for (const name of ["vae", "gan"]) {
      const who = name.toUpperCase();
      byId(`draws-${name}`).ariaLabel =
        `${ROWS ** 2} pictures by the ${who} from the draws of seed ${settings.seed}`;
    }
  }
  return (changed = "seed") => changed === "seed" && soon(paint);
}
