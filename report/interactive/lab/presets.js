/** The stories of the page: settings, and the sentence that they illustrate. */

export const PRESETS = [
  {
    name: "first-attempt",
    title: "The study's first attempt",
    settings: { beta: 0, source: "prior", step: 2000 },
    says:
      "Without the KL, q shrinks to a spike and a third of the codes or more lie beyond z = ±2. " +
      "Samples from the prior miss the part of the data whose codes are far out, and log p(x) " +
      "is lower than with the KL.",
  },
  {
    name: "kl-on",
    title: "The same with the KL",
    settings: { source: "prior", step: 2000 },
    says:
      "With the KL, q is about as wide as the posterior, and all q together match the prior. " +
      "Samples from the prior reach nearly all of the data, but the wide band blurs them.",
  },
  {
    name: "collapse",
    title: "Posterior collapse",
    settings: { sigma: "1.5", step: 1000 },
    says:
      "A decoder with a wide p(x|z) gains less from z than the KL costs: q becomes the prior " +
      "for every x, the curve shrinks almost to a point, and the ELBO equals log p(x).",
  },
  {
    name: "not-tight",
    title: "A bound that is not tight",
    settings: { data: "blobs", step: 3000, picks: "307-173-214" },
    says:
      "Points 1 and 2 could come from two places on the curve, so their posteriors have two " +
      "hills. No Gaussian q fits both hills: the cost is the approximation gap, the first " +
      "number in each row.",
  },
  {
    name: "beta-small",
    title: "Beta too small",
    settings: { beta: 0.1, source: "prior", step: 3000 },
    says:
      "With a KL weight of 0.1 the band is narrower than with 1, and reconstructions are " +
      "sharper. The price is a large amortisation gap: q is much narrower than the posterior, " +
      "and the codes spread a little beyond the prior.",
  },
  {
    name: "beta-large",
    title: "Beta too large",
    settings: { beta: 3, sigma: "0.5", source: "prior", step: 3000 },
    says:
      "With a KL weight of 3, and σ fixed at 0.5, the codes are pulled together: the curve " +
      "becomes short, q is wider than the posterior, and samples of the two moons blur into one " +
      "cloud.",
  },
  {
    name: "iwae",
    title: "IWAE pulls q wide",
    settings: { samples: 20, step: 1500 },
    says:
      "With twenty importance samples q may be wrong as long as one of its samples is right: " +
      "log p(x) is higher than that of the VAE, q becomes wider than the posterior, and the " +
      "ELBO falls out of the picture.",
  },
];
