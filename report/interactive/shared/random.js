/** Random numbers that are the same everywhere for the same seed. */

/** A function that returns uniform numbers in (0, 1), by mulberry32 from a seed of 32 bits. */
export function uniform(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let bits = Math.imul(seed ^ (seed >>> 15), seed | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return (((bits ^ (bits >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
}

/** A function that returns standard normal numbers, by Box and Muller from two uniform ones. */
export function normal(seed) {
  const random = uniform(seed);
  return () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
}

/** The seed of a stream of a run, so that its parts draw independently: FNV-1a of the name. */
export function streamSeed(seed, name) {
  let hash = 0x811c9dc5 ^ seed;
  for (const letter of name) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193);
  return hash >>> 0;
}

/** The numbers below n in random order, by Fisher and Yates. */
export function permutation(n, random) {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor((i + 1) * random());
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
