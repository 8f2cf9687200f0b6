/** The tab of the digits, with the buttons that both tabs share. */

import { byId } from "../shared/dom.js";
import { digitsPanel } from "./digits_panel.js";

const PICTURES = ["samples-0", "samples-1", "codes-0", "codes-1"];

/** See `toyTab`: the same functions, for the two runs on digits. */
export function digitsTab(settings, changed) {
  let isPlaying = false, goal = 0;
  const panel = digitsPanel(byId("digits"), settings, changed, () => {
    if (!isPlaying || panel.state().step < goal) return;
    isPlaying = false;
    changed({});
  });

  return {
    play() {
      const { step } = panel.state();
      isPlaying = true;
      goal = settings.step > step ? settings.step : Infinity;
      if (goal < Infinity) panel.step(goal - step);
      else panel.play();
    },
    pause() {
      isPlaying = false;
      panel.pause();
    },
    step: () => panel.step(),
    restart() {
      isPlaying = false;
      panel.set(settings);
      panel.reset();
    },
    refresh: () => panel.set(settings),
    opened: panel.start,
    isPlaying: () => isPlaying,
    steps: () => panel.state().step,
    canvases: () => PICTURES.map((name) => byId(`digits-${name}`)),
    panel,
  };
}
