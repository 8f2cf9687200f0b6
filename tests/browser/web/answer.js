/**
 * What the lab's modules compute, as numbers for JSON. The same in node and in a page, where it is
 * evaluated as text: it uses nothing but its arguments.
 *
 * @param modules {training, vae, exact}, each with its exported functions
 * @param request about and settings, see `newRun` and `advance`; kind, the name of the arrays'
 *   type; data; steps; points, and for each a q, whose gaps are wanted after the last step
 */
export function answer({ training, vae, exact }, request) {
  const { about, kind, data, settings, steps, points = [], q = [] } = request;
  const plain = (model) => Object.values(vae.sides(model)).flat().map((array) => Array.from(array));
  const run = training.newRun(about, globalThis[kind].from(data));
  const first = plain(run.model), taken = [];
  for (let i = 0; i < steps; i++) {
    training.advance(run, settings);
    const { x, eps, loss, reconstruction, kl } = run.last;
    taken.push({ x: Array.from(x), eps: Array.from(eps), loss, reconstruction, kl });
  }
  const gradients = run.last && Object.values(run.last.gradients).flat();
  const gaps = points.map((point, i) => {
    const x = globalThis[kind].from(point), [mu, logvar] = q[i];
    const there = exact.onGrid(run.model, x, 1, [mu]);
    return exact.gaps(run.model, there, 0, x, mu, logvar);
  });
  return {
    first, taken, gaps, last: plain(run.model),
    gradients: gradients?.map((array) => Array.from(array)),
  };
}
