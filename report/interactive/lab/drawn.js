/** Drawing data by hand: with the mouse, a finger, or the arrow keys and Space. */

import { byId } from "../shared/dom.js";
import { fromText, snapped, toText } from "./datasets.js";

const APART = 0.08, MOST = 400, NUDGE = 0.1;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * Let a canvas take points while the settings say that the data are drawn.
 *
 * @param place an event's place in the plane, [x, y]
 * @param drew called with all points, as text, after each new one
 */
export function drawing(canvas, place, settings, drew) {
  let at = [0, 0], isDown = false;
  const isOn = () => settings.data === "drawn";

  function add([x, y]) {
    const points = fromText(settings.points), point = [snapped(x), snapped(y)];
    const last = points.slice(-2);
    const isNear = last.length && Math.hypot(last[0] - point[0], last[1] - point[1]) < APART;
    if (isNear || points.length / 2 >= MOST) return;
    at = point;
    drew(settings.points + toText(point));
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!isOn()) return;
    isDown = true;
    canvas.setPointerCapture(event.pointerId);
    add(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!isDown || !isOn()) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) add(place(each));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => (isDown = false));
  }
  canvas.addEventListener("keydown", (event) => {
    if (!isOn()) return;
    const move = MOVES[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    if (move) at = at.map((x, d) => Math.min(2.5, Math.max(-2.5, x + NUDGE * move[d])));
    else add(at);
    byId("drawn-at").textContent = `Cursor at ${at.map((x) => x.toFixed(1)).join(", ")}`;
  });
  byId("erase").addEventListener("click", () => drew(""));
}
