/** Choices of test images, and latent numbers in words. */

import { shown } from "../shared/dom.js";
import { model } from "./decoders.js";

export const list = (z) => Array.from(z, (x) => shown(x)).join(", ");

/** Fill a choice with the codes of test images, five of each digit. */
export function offerCodes(select) {
  const seen = Array(10).fill(0);
  const { labels } = model("vae");
  labels.forEach((digit, i) => select.add(new Option(`${digit}, image ${++seen[digit]}`, i)));
}
