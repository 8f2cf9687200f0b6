/** A page's state in its address: what is written comes back, and nothing else gets in. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { explorerFields } from "../../../report/interactive/explorer/fields.js";
import { points, toText } from "../../../report/interactive/lab/datasets.js";
import { DIGITS_FIELDS, TOY_FIELDS } from "../../../report/interactive/lab/fields.js";
import { uniform } from "../../../report/interactive/shared/random.js";
import { choice, defaults, flag, fragment, integer, keepInUrl, number, readState, text }
  from "../../../report/interactive/shared/state.js";

const FIELDS = {
  beta: number(1, { min: 0, max: 10 }),
  seed: integer(1, { min: 0, max: 2 ** 32 - 1 }),
  data: choice("moons", ["rings", "moons", "spiral"]),
  noise: flag(true),
  points: text(""),
};
const SHIFT = number(0, { min: -1e-3, max: 1e3 });
const LABELS = Uint8Array.from({ length: 50 }, (_, i) => Math.floor(i / 5));
const LETTERS = "abcXYZ019._-";

/** A random value that a field takes; numbers of all sizes, with all their digits. */
function anyValue({ expected }, random) {
  const below = (n) => Math.floor(n * random());
  const [from, to] = (expected.match(/-?[\d.e-]+(?= to )| to .*/g) ?? []).map(
    (it) => Number(it.replace(" to ", "")));
  if (expected.startsWith("a number")) {
    return random() < 0.2 ? [from, to][below(2)] : from + (to - from) * random() ** (1 + below(40));
  }
  if (expected.startsWith("a whole")) return from + below(to - from + 1);
  if (expected.startsWith("one of ")) {
    const words = expected.slice("one of ".length).split(", ");
    return words[below(words.length)];
  }
  if (expected === "on or off") return random() < 0.5;
  if (expected === "digits") return ["", "3", "0358", "0123456789"][below(4)];
  if (/^\d+ numbers/.test(expected)) {
    const z = () => Math.fround(20 * random() ** (1 + below(9)) - 10);
    return random() < 0.5 ? "" : Array.from({ length: parseInt(expected) }, z).join("_");
  }
  if (expected.startsWith("points ")) {
    return toText(points("moons", below(99)).subarray(0, 2 * below(20)));
  }
  return Array.from({ length: below(30) }, () => LETTERS[below(LETTERS.length)]).join("");
}

const PAGES = {
  "a page": { ...FIELDS, shift: SHIFT },
  "the explorer": explorerFields(20, LABELS),
  "the toy world": TOY_FIELDS,
  "the digits": DIGITS_FIELDS,
};
for (const [page, fields] of Object.entries(PAGES)) {
  test(`${page}: five thousand random states come back from the address to the bit`, () => {
    const random = uniform(1), seen = new Set();
    for (let i = 0; i < 5000; i++) {
      const state = defaults(fields);
      for (const name of Object.keys(fields)) {
        if (random() < 0.5) state[name] = anyValue(fields[name], random);
        assert.ok(fields[name].isGood(state[name]), `${name}: ${state[name]}`);
      }
      const written = fragment(fields, state);
      assert.deepEqual(readState(fields, written), { state, refused: [] });
      assert.equal(new URL(written, "file:///page.html").hash, written); // as a browser has it
      seen.add(written);
    }
    assert.ok(seen.size > 4000);
  });

  test(`${page}: the defaults need no fragment, and no fragment gives the defaults`, () => {
    assert.equal(fragment(fields, defaults(fields)), "");
    for (const none of ["", "#"]) {
      assert.deepEqual(readState(fields, none), { state: defaults(fields), refused: [] });
    }
    for (const { standard, isGood } of Object.values(fields)) assert.ok(isGood(standard));
  });
}

test("only what differs from the defaults is written, in the order of the fields", () => {
  const state = { points: "", noise: false, seed: 3, data: "moons", beta: 0.1 + 0.2 };
  assert.equal(fragment(FIELDS, state), "#beta=0.30000000000000004&seed=3&noise=off");
});

const REFUSED = {
  beta: ["-0.001", "10.1", "", "x", "NaN", "Infinity", "1e99", "1,5"],
  seed: ["-1", "4294967296", "1.5", "", "one"],
  data: ["", "Moons", "toString"],
  noise: ["", "true", "1", "On", "constructor", "__proto__"],
  points: ["<b>", "a b", "é"],
};
for (const [name, texts] of Object.entries(REFUSED)) {
  for (const said of texts) {
    test(`${name}=${said} is refused by name, and the default is kept`, () => {
      const { state, refused } = readState(FIELDS, `#${new URLSearchParams({ [name]: said })}`);
      assert.deepEqual(state, defaults(FIELDS));
      assert.equal(refused.length, 1);
      assert.equal(refused[0], `“${name}” has to be ${FIELDS[name].expected}, got “${said}”.`);
    });
  }
}

test("the sentence says what was expected", () => {
  const { refused } = readState(FIELDS, "#beta=11&data=cube&noise=no");
  assert.match(refused[0], /^“beta” .* a number from 0 to 10, got “11”\.$/);
  assert.match(refused[1], /^“data” .* one of rings, moons, spiral, got “cube”\.$/);
  assert.match(refused[2], /^“noise” .* on or off, got “no”\.$/);
});

test("unknown names are refused, and what stands beside them is read", () => {
  for (const name of ["betta", "constructor", "__proto__", "BETA"]) {
    const { state, refused } = readState(FIELDS, `#${name}=2&seed=9`);
    assert.deepEqual(state, { ...defaults(FIELDS), seed: 9 });
    assert.deepEqual(refused, [`This page has no setting “${name}”.`]);
  }
});

test("latent numbers of another model, and names that are no digits, are refused", () => {
  const fields = explorerFields(3, LABELS);
  for (const z of ["1_2", "1_2_3_4", "1_2_x", "1__3", "1_2_11", "1_2_NaN", "1_2_Infinity"]) {
    const { state, refused } = readState(fields, `#z=${z}`);
    assert.equal(state.z, "");
    assert.deepEqual(refused, [
      `“z” has to be 3 numbers from -10 to 10, joined by _, got “${z}”.`,
    ]);
  }
  assert.deepEqual(readState(fields, "#z=1_-2.5_1e-7").refused, []);
  assert.equal(readState(fields, "#hidden=3x").state.hidden, "");
});

test("the address is written once when the state rests, and a refusal does no harm", () => {
  const written = [];
  globalThis.location = { href: "file:///folder/page.html#old" };
  globalThis.history = { replaceState: (_data, _title, address) => written.push(address) };
  mock.timers.enable({ apis: ["setTimeout"] });
  const state = defaults(FIELDS);
  for (let i = 1; i <= 5; i++) {
    state.seed = 10 * i;
    keepInUrl(FIELDS, state);
    mock.timers.tick(100);
  }
  assert.deepEqual(written, []);
  mock.timers.tick(150);
  assert.deepEqual(written, ["file:///folder/page.html#seed=50"]);
  Object.assign(state, defaults(FIELDS));
  keepInUrl(FIELDS, state);
  mock.timers.tick(250);
  assert.equal(written.at(-1), "file:///folder/page.html");

  globalThis.history.replaceState = () => {
    throw new Error("SecurityError");
  };
  keepInUrl(FIELDS, state);
  mock.timers.tick(250);
  mock.timers.reset();
});
