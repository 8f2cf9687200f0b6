/** Latent numbers: draws, shares and quantiles of the prior, and ways between two codes. */

/** So many numbers of a random source, such as `normal(seed)`. */
export function draws(source, size) {
  return Float32Array.from({ length: size }, source);
}

/** Share of a standard normal below z, to 1e-7 (Abramowitz & Stegun 7.1.26). */
export function cdf(z) {
  const x = Math.abs(z) / Math.SQRT2, t = 1 / (1 + 0.3275911 * x);
  const series = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
  const tail = series.reduce((sum, factor) => sum * t + factor, 0) * t * Math.exp(-x * x) / 2;
  return z < 0 ? tail : 1 - tail;
}

/** The z below which lies the share p, within [-3, 3], where the map ends. */
export function quantile(p) {
  let low = -3, high = 3;
  while (high - low > 1e-7) {
    const middle = (low + high) / 2;
    if (cdf(middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** The length of a latent vector. */
export const length = (z) => Math.hypot(...z);

/** The point at t of the way from one code to another: a line, or an arc about the origin. */
export function between(from, to, t, way) {
  const cosine = from.reduce((sum, x, i) => sum + x * to[i], 0) / (length(from) * length(to));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const arc = way === "spherical" && Math.sin(angle) > 1e-6; // the arc of one direction is a line
  const share = (s) => (arc ? Math.sin(s * angle) / Math.sin(angle) : s);
  return from.map((x, i) => share(1 - t) * x + share(t) * to[i]);
}
