/**
 * The state of a page in the fragment of its address: `#beta=2&seed=3`.
 *
 * A field knows its default and how a text becomes its value. Only what differs from the defaults
 * is written, so that an address says what was changed. Numbers come back to the bit.
 */

/** A number within [min, max]. */
export function number(standard, { min, max }) {
  const isGood = (value) => Number.isFinite(value) && value >= min && value <= max;
  const read = (text) => (text.trim() === "" ? NaN : Number(text));
  return { standard, read, isGood, expected: `a number from ${min} to ${max}` };
}

/** A whole number within [min, max]. */
export function integer(standard, { min, max }) {
  const { read, isGood } = number(standard, { min, max });
  const isWhole = (value) => Number.isInteger(value) && isGood(value);
  return { standard, read, isGood: isWhole, expected: `a whole number from ${min} to ${max}` };
}

/** One of some words. */
export function choice(standard, words) {
  const isGood = (value) => words.includes(value);
  return { standard, read: (text) => text, isGood, expected: `one of ${words.join(", ")}` };
}

/** On or off. */
export function flag(standard) {
  const read = (text) => ({ on: true, off: false })[text];
  const write = (value) => (value ? "on" : "off");
  const isGood = (value) => typeof value === "boolean";
  return { standard, read, write, isGood, expected: "on or off" };
}

/** A text; without a rule of its own, any letters, digits, dots, dashes and underscores. */
export function text(
  standard,
  isGood = (value) => /^[\w.-]*$/.test(value),
  expected = "letters, digits, dots, dashes",
) {
  return { standard, read: (it) => it, isGood, expected };
}

/** All fields at their defaults. */
export function defaults(fields) {
  return Object.fromEntries(Object.entries(fields).map(([name, { standard }]) => [name, standard]));
}

/**
 * The state that a fragment holds, and a sentence for each part of it that is refused: its field
 * keeps the default.
 */
export function readState(fields, fragment) {
  const state = defaults(fields), refused = [];
  for (const [name, said] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    if (!Object.hasOwn(fields, name)) {
      refused.push(`This page has no setting “${name}”.`);
      continue;
    }
    const value = fields[name].read(said);
    if (fields[name].isGood(value)) state[name] = value;
    else refused.push(`“${name}” has to be ${fields[name].expected}, got “${said}”.`);
  }
  return { state, refused };
}

/** The fragment of a state, "" where all is at its default. */
export function fragment(fields, state) {
  const parts = new URLSearchParams();
  for (const [name, { standard, write = String }] of Object.entries(fields)) {
    if (state[name] !== standard) parts.set(name, write(state[name]));
  }
  return parts.size ? `#${parts}` : "";
}

const REST = 250; // milliseconds; browsers limit how often an address may change
let planned = 0;

/** Put the state into the page's address, when it has rested. */
export function keepInUrl(fields, state) {
  clearTimeout(planned);
  planned = setTimeout(() => {
    const address = location.href.replace(/#.*/, "") + fragment(fields, state);
    try {
      history.replaceState(null, "", address);
    } catch { // too often for this browser, or a page without an address: the link button has it
    }
  }, REST);
}
