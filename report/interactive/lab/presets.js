/** The stories of the page: settings, and the sentence that they illustrate. */

export const PRESETS = [
  {
    name: "first-attempt",
    title: "The study's first attempt",
    settings: { beta: 0, source: "prior", step: 2000 },
    says:
      "Without the KL, q shrinks to a spike and the codes leave the prior: what is sampled " +
      "from the prior misses the data, and log p(x) falls below what it is with the KL.",
  },
  {
    name: "kl-on",
    title: "The same with the KL",
    settings: { source: "prior", step: 2000 },
    says:
      "With the KL, q stays as wide as the posterior, the codes fill the prior, and its " +
      "samples lie near the data.",
  },
  {
    name: "collapse",
    title: "Posterior collapse",
    settings: { sigma: "1.5", step: 1000 },
    says:
      "A decoder with a wide p(x|z) gains less from z than the KL charges: q becomes the " +
      "prior for every x, the curve shrinks to a point, and the bound is tight.",
  },
  {
    name: "not-tight",
    title: "A bound that is not tight",
    settings: { data: "blobs", step: 3000, picks: "307-173-214" },
    says:
      "Where one x could come from two places of the curve, its posterior has two hills. No " +
      "Gaussian q fits both, and the approximation gap is what that costs.",
  },
  {
    name: "beta-small",
    title: "Beta too small",
    settings: { beta: 0.1, source: "prior", step: 3000 },
    says:
      "A cheap KL buys sharp reconstructions: the codes spread beyond the prior, and q is " +
      "narrower than the posterior.",
  },
  {
    name: "beta-large",
    title: "Beta too large",
    settings: { beta: 3, sigma: "0.5", source: "prior", step: 3000 },
    says:
      "A dear KL pulls all codes together: the curve becomes short, and the two moons blur " +
      "into one cloud.",
  },
  {
    name: "iwae",
    title: "IWAE pulls q wide",
    settings: { samples: 20, step: 1500 },
    says:
      "With twenty importance samples q may be wrong as long as one of its samples is right: " +
      "log p(x) rises, q becomes wider than the posterior, and the ELBO falls.",
  },
];
