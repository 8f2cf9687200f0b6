/** What can be set on the page, and so what a link holds. */

import { choice, flag, integer, number, text } from "../shared/state.js";
import { NAMES, fromText } from "./datasets.js";

/** Whether a text holds points that were drawn by hand. */
function holdsPoints(written) {
  try {
    fromText(written);
    return true;
  } catch {
    return false;
  }
}

export const TABS = ["toy", "digits"];

const SHARED = {
  tab: choice("toy", TABS),
  seed: integer(1, { min: 0, max: 2 ** 32 - 1 }),
  step: integer(0, { min: 0, max: 100000 }), // the run goes there at once
  beta: number(1, { min: 0, max: 6 }),
  noise: flag(true),
  samples: integer(1, { min: 1, max: 50 }),
  train: choice("both", ["both", "encoder", "decoder"]),
};

export const TOY_FIELDS = {
  ...SHARED,
  data: choice("moons", NAMES),
  rate: number(0.01, { min: 1e-4, max: 0.1 }),
  batch: integer(64, { min: 1, max: 400 }),
  units: choice("32", ["2", "4", "8", "16", "32", "64"]),
  sigma: choice("0", ["0", "0.1", "0.2", "0.5", "1", "1.5"]), // 0: learnt
  speed: choice("steady", ["slow", "steady", "fast"]),
  source: choice("none", ["none", "prior", "aggregate"]),
  picks: text(""), // numbers of points, with dashes between them
  walk: number(0, { min: 0, max: 1 }),
  points: { ...text(""), isGood: holdsPoints, expected: "points that were drawn on this page" },
};

export const DIGITS_FIELDS = {
  ...SHARED,
  rate: number(0.005, { min: 1e-4, max: 0.1 }),
  batch: integer(64, { min: 1, max: 400 }),
  units: choice("128", ["16", "32", "64", "128"]),
  source: choice("prior", ["prior", "aggregate"]),
  shown: integer(1, { min: 0, max: 2 ** 32 - 1 }), // seed of the draws that samples are made of
  from: integer(1, { min: 0, max: 9 }),
  to: integer(0, { min: 0, max: 9 }),
  arm: integer(1, { min: 0, max: 1 }), // whose plane is decoded
};

/** A change of one of these needs new networks or another data set, so the run begins again. */
export const RESTARTING = ["data", "seed", "units"];
