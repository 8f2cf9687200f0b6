/** The page, the first picture first, and its state in the address. */

import { bind, pictureButton, shareButton } from "../shared/controls.js";
import { byId, pause } from "../shared/dom.js";
import { normal } from "../shared/random.js";
import { fragment, keepInUrl, readState } from "../shared/state.js";
import { decode, model } from "./decoders.js";
import { latentDimensions } from "./dimensions.js";
import { explorerFields } from "./fields.js";
import { plane } from "./map.js";
import { sameDraws } from "./same_draws.js";
import { walk } from "./walk.js";

async function begin() {
  const { labels, size } = model("vae"), fields = explorerFields(size, labels);
  const settings = {}, sections = [];
  const read = () => {
    const { state, refused } = readState(fields, location.hash);
    Object.assign(settings, state);
    byId("share-status").textContent = refused.join(" ");
  };
  let refresh = () => {};
  const kept = () => {
    refresh();
    keepInUrl(fields, settings);
  };
  const show = (changed) => {
    for (const section of sections) section(changed);
    kept();
  };
  const started = (section) => {
    sections.push(section);
    section();
    return pause();
  };

  read();
  await started(latentDimensions(settings, kept));
  performance.mark("first picture");
  await started(walk(settings));
  await started(sameDraws(settings));
  const map = plane(settings, kept);
  refresh = bind([document.body], fields, settings, show);
  refresh();

  byId("draws-again").addEventListener("click", () => {
    settings.seed = (settings.seed + 1) % 2 ** 32;
    show("seed");
  });
  addEventListener("hashchange", () => {
    read();
    refresh();
    for (const section of sections) section();
  });
  shareButton(byId("share"), byId("share-status"), () =>
    location.href.replace(/#.*/, "") + fragment(fields, settings));
  for (const button of document.querySelectorAll("[data-saves]")) {
    const ids = button.dataset.saves.split(" ");
    pictureButton(button, () => ids.map(byId), () => ids[0]);
  }
  await started(map.show);
  await map.whole;
}

/**
 * For tests: `model(name)` has the layers, codes and labels, `decode(name, z)` is what every
 * picture is made by, `normal(seed)` is where draws come from, and `ready` resolves when all
 * pictures are there.
 */
window.explorer = { model, decode, normal, ready: begin() };
