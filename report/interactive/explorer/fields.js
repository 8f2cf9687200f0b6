/** What can be set on the page, and so what a link holds. */

import { choice, flag, integer, number, text } from "../shared/state.js";

/**
 * The fields of a page that holds some test images.
 *
 * @param size how many latent dimensions the autoencoder of the first sections has
 * @param labels the digits of the test images whose codes can be chosen
 */
export function explorerFields(size, labels) {
  const image = { min: 0, max: labels.length - 1 }, axis = { min: -3, max: 3 };
  return {
    code: integer(0, image),
    z: text("", (it) => !it || isPoint(it, size), `${size} numbers from -10 to 10, joined by _`),
    unused: flag(false),
    from: integer(labels.indexOf(3), image),
    to: integer(labels.indexOf(8), image),
    way: choice("straight", ["straight", "spherical"]),
    t: number(0.5, { min: 0, max: 1 }),
    z1: number(0, axis),
    z2: number(0, axis),
    codes: flag(false),
    hidden: text("", (it) => /^\d*$/.test(it), "digits"), // those whose codes are not shown
    seed: integer(1, { min: 0, max: 2 ** 32 - 1 }),
  };
}

/** Latent numbers as a text that an address can hold. */
export const toText = (z) => Array.from(z).join("_");

/** The latent numbers of such a text. */
export const fromText = (it) => it.split("_").map((part) => (part ? Number(part) : NaN));

function isPoint(it, size) {
  const z = fromText(it);
  return z.length === size && z.every((x) => Math.abs(x) <= 10);
}
