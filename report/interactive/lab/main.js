/** The page: its tabs, settings, links and stories. */

import { bind, pictureButton, shareButton } from "../shared/controls.js";
import { byId, soon } from "../shared/dom.js";
import { defaults, fragment, keepInUrl, readState } from "../shared/state.js";
import * as datasets from "./datasets.js";
import { digitsTab } from "./digits_tab.js";
import * as exact from "./exact.js";
import { DIGITS_FIELDS, RESTARTING, TABS, TOY_FIELDS } from "./fields.js";
import * as network from "./network.js";
import { PRESETS } from "./presets.js";
import * as toy from "./toy.js";
import { toyTab } from "./toy_tab.js";
import * as training from "./training.js";
import * as vae from "./vae.js";

const FIELDS = { toy: TOY_FIELDS, digits: DIGITS_FIELDS };
const standard = (name) => ({ ...defaults(FIELDS[name]), tab: name });
const settings = { toy: standard("toy"), digits: standard("digits") };
const tabs = {
  toy: toyTab(settings.toy, (change) => ownChange("toy", change)),
  digits: digitsTab(settings.digits, (change) => ownChange("digits", change)),
};
const VIEWS = ["speed", "source", "walk"]; // change what is seen, not what is trained
const refreshers = {};
const wasChanged = { toy: false, digits: false }; // a setting, since the run began
const stories = { toy: null, digits: null }; // that a run is of, until something else is trained
let open = "toy";

// ---- Settings -----------------------------------------------------------------------------------

for (const name of TABS) {
  const form = byId(`${name}-settings`);
  form.querySelector(".shared").append(byId("shared-settings").content.cloneNode(true));
  const changed = (field) => userChange(name, field);
  refreshers[name] = bind([form, byId(name)], FIELDS[name], settings[name], changed);
  form.querySelector(".kl-on").addEventListener("input", (event) => {
    settings[name].beta = event.target.checked ? 1 : 0;
    userChange(name, "beta");
  });
  form.addEventListener("submit", (event) => event.preventDefault());
}

function userChange(name, field) {
  settings[name].step = 0;
  if (RESTARTING.includes(field)) restart(name);
  else {
    if (!VIEWS.includes(field)) noteChange(name);
    tabs[name].refresh();
  }
  show();
}

/** What a tab itself has changed: points that were drawn or picked, or that it stopped. */
function ownChange(name, change) {
  Object.assign(settings[name], change);
  if ("points" in change) {
    settings[name].step = 0;
    noteChange(name);
  }
  show();
}

function noteChange(name) {
  wasChanged[name] ||= tabs[name].steps() > 0;
  stories[name] = null;
}

function restart(name) {
  wasChanged[name] = false;
  stories[name] = null;
  tabs[name].restart();
}

/** Bring the controls and the address up to the state. */
function show() {
  refreshers[open]();
  const form = byId(`${open}-settings`);
  form.querySelector(".kl-on").checked = settings[open].beta > 0;
  byId("play").textContent = tabs[open].isPlaying() ? "Pause" : "Play";
  byId("play").setAttribute("aria-pressed", tabs[open].isPlaying());
  keepInUrl(FIELDS[open], settings[open]);
  showStory();
}

function showStory() {
  const story = stories[open];
  for (const { name } of PRESETS) {
    if (name === story?.name) byId(name).setAttribute("aria-current", "true");
    else byId(name).removeAttribute("aria-current");
  }
  byId("story").hidden = !story;
  if (!story) return;
  const title = Object.assign(document.createElement("b"), { textContent: `${story.title}. ` });
  byId("story").replaceChildren(title, story.says);
}

// ---- Buttons ------------------------------------------------------------------------------------

byId("play").addEventListener("click", () => {
  if (tabs[open].isPlaying()) tabs[open].pause();
  else tabs[open].play();
  show();
});
byId("step").addEventListener("click", () => {
  tabs[open].pause();
  tabs[open].step();
  show();
});
byId("restart").addEventListener("click", () => {
  settings[open].step = 0;
  restart(open);
  show();
});
byId("defaults").addEventListener("click", () => {
  Object.assign(settings[open], standard(open));
  restart(open);
  show();
});
shareButton(byId("share"), byId("share-status"), address, () =>
  wasChanged[open]
    ? "You changed settings during this run; the link trains with the present ones from the start."
    : "");
const pictureName = () => `vae-lab-step-${tabs[open].steps()}`;
pictureButton(byId("save"), () => tabs[open].canvases(), pictureName);

/** The link to what is seen: all settings, and the step that the run has reached. */
function address() {
  const state = { ...settings[open], step: tabs[open].steps() };
  return location.href.replace(/#.*/, "") + fragment(FIELDS[open], state);
}

// ---- Tabs ---------------------------------------------------------------------------------------

function openTab(name) {
  if (name !== open) tabs[open].pause();
  open = name;
  for (const each of TABS) {
    const tab = byId(`tab-${each}`), isOpen = each === name;
    tab.setAttribute("aria-selected", isOpen);
    tab.tabIndex = isOpen ? 0 : -1;
    byId(each).hidden = byId(`${each}-settings`).hidden = !isOpen;
  }
  byId("status").hidden = name === "digits"; // they have one of their own
  tabs[name].opened();
  show();
}
for (const name of TABS) {
  byId(`tab-${name}`).addEventListener("click", () => openTab(name));
  byId(`tab-${name}`).addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const other = TABS.find((each) => each !== name);
    openTab(other);
    byId(`tab-${other}`).focus();
  });
}

// ---- Links and stories --------------------------------------------------------------------------

/** Whether a fragment names a place on the page, and no settings. */
const isPlace = (hash) => byId(hash.slice(1)) !== null;

/** The tab that a fragment opens, its settings, and what of it is refused. */
function understood(hash) {
  const name = /[#&]tab=digits\b/.test(hash) ? "digits" : "toy";
  return { name, ...readState(FIELDS[name], isPlace(hash) ? "" : hash) };
}

/** Restore what the address says, and go to the step that it names. */
function restore() {
  const { name, state, refused } = understood(location.hash);
  Object.assign(settings[name], state);
  byId("share-status").textContent = refused.join(" ");
  openTab(name);
  restart(name);
  const here = fragment(FIELDS[name], settings[name]);
  stories[name] = PRESETS.find((each) => byId(each.name).hash === here) ?? null;
  if (state.step) tabs[name].play();
  show();
}

for (const { name, title, settings: own, says, fields = TOY_FIELDS } of PRESETS) {
  const item = document.createElement("li"), link = document.createElement("a");
  Object.assign(link, { id: name, textContent: title });
  link.href = fragment(fields, { ...defaults(fields), ...own });
  item.append(link, Object.assign(document.createElement("p"), { textContent: says }));
  byId("presets").append(item);
}
addEventListener("click", ({ target }) => {
  const link = target.closest("a[href^='#']");
  if (!link || isPlace(link.hash)) return;
  byId("bench").scrollIntoView();
  if (link.hash === location.hash) restore(); // the address stays, so no event tells of the click
});
addEventListener("hashchange", () => isPlace(location.hash) || restore());
const isDark = matchMedia("(prefers-color-scheme: dark)");
isDark.addEventListener("change", () => soon(tabs[open].refresh));
restore();

/** For tests: the arithmetic, and what the page holds. */
window.lab = {
  modules: { network, vae, exact, training, datasets, toy },
  settings, tabs, address,
  refused: (hash) => understood(hash).refused,
};
