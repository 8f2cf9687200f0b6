/** The tab of the toy world: plays a run, in slow motion if wanted, and paints what is known. */

import { announce, byId, shown, soon } from "../shared/dom.js";
import { curvesInWords, paintCurves } from "./curves.js";
import { drawing } from "./drawn.js";
import { latentInWords, paintLatent } from "./latent.js";
import { axes, paintPlane, planeInWords } from "./plane.js";
import {
  byCode, canTrain, dataOf, look, nearest, newWorld, replaceData, step, watched,
} from "./toy.js";
import { decode } from "./vae.js";

const MOST_PICKS = 4, FIRST_PICKS = [0.1, 0.4, 0.8]; // shares of the way along the watched points
const FRAME = 9; // milliseconds of training per frame, when fast
const AT_REST = "One step of training. To see it part by part, choose slow motion and press Play.";
const PHASES = ["data", "encoder", "noise", "decoder", "loss", "gradients", "update"];

/**
 * The tab, wired to its elements.
 *
 * @param settings the state that the controls change
 * @param changed called with what the tab itself has changed, for instance {picks: "3-4"}
 * @returns what the page's buttons do, where the run is, and world and view, for tests
 */
export function toyTab(settings, changed) {
  const canvas = byId("plane");
  let world = newWorld(settings), view = null, target = 0; // the step that a link names
  let isPlaying = false, isAwaited = false; // the next frame
  let overlay = null, phase = -1, phaseBegan = 0, phaseLasts = 900; // milliseconds of slow motion

  function restart() {
    world = newWorld(settings);
    target = settings.step;
    forgetPhase();
    refresh();
  }

  // ---- What is known ---------------------------------------------------------------------------

  /** The world that is painted: in slow motion the one before the step, until the last phase. */
  const painted = () => overlay?.before ?? world;

  function picks() {
    const { count } = world.run;
    const own = settings.picks.split("-").filter(Boolean).map(Number);
    const kept = own.filter((number) => Number.isInteger(number) && number < count);
    const some = watched(world.run);
    return kept.length ? kept.slice(0, MOST_PICKS)
      : FIRST_PICKS.map((share) => some[Math.floor(share * some.length)]);
  }

  function refresh() {
    byId("drawing").hidden = settings.data !== "drawn";
    canvas.classList.toggle("draws", settings.data === "drawn");
    view = canTrain(world) ? look(painted(), [...new Set(picks())]) : null;
    soon(paint);
  }

  function paint() {
    const shownWorld = painted();
    paintPlane(shownWorld, view, settings, overlay);
    paintLatent(shownWorld, view, settings, overlay);
    paintCurves(shownWorld);
    showNumbers(shownWorld);
    byId("plane").ariaLabel = planeInWords(shownWorld, view, settings);
    byId("latent").ariaLabel = latentInWords(view);
    byId("curves").ariaLabel = curvesInWords(shownWorld);
  }

  function showNumbers({ history, run }) {
    const means = history.at(-1);
    for (const name of ["evidence", "elbo", "approximation", "amortisation", "kl"]) {
      byId(name).textContent = means ? shown(means[name]) : "\u2013";
    }
    byId("sigma").textContent = shown(Math.exp(run.model.logSigma[0]));
    byId("watched").textContent = watched(world.run).length;
    byId("grid-note").textContent = !view || view.there.isFine ? ""
      : "The posterior is narrower than the finest grid: log p(x) and the gaps are inexact here.";
    byId("status").textContent = canTrain(world)
      ? `Step ${world.run.step.toLocaleString("en")}` +
        (target > world.run.step ? ` of ${target.toLocaleString("en")}` : "")
      : "Draw at least three points";
    if (!means) return;
    const values = `ELBO ${shown(means.elbo)}, log p(x) ${shown(means.evidence)}`;
    announce(byId("spoken"), `Step ${means.step}: ${values}`);
  }

  // ---- Time ------------------------------------------------------------------------------------

  function nextFrame() {
    if (isAwaited) return; // Play may come back before the frame that Pause has left
    isAwaited = true;
    requestAnimationFrame(frame);
  }

  function frame(now) {
    isAwaited = false;
    if (!isPlaying) return;
    if (canTrain(world)) {
      if (world.run.step < target) goOn(() => world.run.step < target);
      else if (settings.speed === "slow") slowly(now);
      else if (settings.speed === "fast") goOn(() => true);
      else whole();
      if (target && world.run.step >= target) arrive();
    }
    nextFrame();
  }

  function goOn(wants) {
    const until = performance.now() + FRAME;
    while (wants() && performance.now() < until) step(world, settings);
    forgetPhase();
    refresh();
  }

  function whole() {
    step(world, settings);
    forgetPhase();
    refresh();
  }

  function forgetPhase() {
    [overlay, phase] = [null, -1];
    showPhase();
  }

  function arrive() {
    target = 0;
    pause();
  }

  /** A step in phases; the networks that are painted change only with the last of them. */
  function slowly(now) {
    if (phase >= 0 && now - phaseBegan < phaseLasts) return;
    phaseBegan = now;
    phase = (phase + 1) % PHASES.length;
    if (phase === 0) {
      const model = structuredClone(world.run.model);
      const before = { run: { ...world.run, model }, history: [...world.history] };
      step(world, settings);
      const { last } = world.run;
      last.decoded = decode(model, last.z, last.z.length);
      overlay = { phase: PHASES[0], last, before };
    }
    overlay.phase = PHASES[phase];
    showPhase();
    if (PHASES[phase] === "update") {
      overlay = null;
      refresh();
    }
    soon(paint);
  }

  function showPhase() {
    const now = PHASES[phase] ?? "";
    const trained = settings.train === "both" ? ["encoder", "decoder"] : [settings.train];
    const computing = now === "update" ? trained : [now];
    byId("diagram").dataset.phase = now;
    for (const part of byId("diagram").children) {
      part.classList.toggle("on", computing.includes(part.dataset.part));
    }
    byId("phase").textContent = now ? sentence(now, world.run.last, settings) : AT_REST;
  }

  // ---- Buttons ---------------------------------------------------------------------------------

  function play() {
    isPlaying = true;
    nextFrame();
  }

  function pause() {
    isPlaying = false;
    changed({});
  }

  // ---- The plane as a control ------------------------------------------------------------------

  function place(event) {
    const box = canvas.getBoundingClientRect(), to = axes(box.width);
    return [to.x.inverse(event.clientX - box.left), to.y.inverse(event.clientY - box.top)];
  }

  function pick(number) {
    const now = [...new Set(picks())], at = now.indexOf(number);
    if (at >= 0 && now.length > 1) now.splice(at, 1);
    else if (at < 0) now.push(number);
    changed({ picks: now.slice(-MOST_PICKS).join("-") });
    refresh();
  }

  /** The arrow keys move the last picked point along the codes of the data. */
  function walkAlong(by) {
    const order = byCode(world.run), now = [...new Set(picks())];
    const free = order.filter((number) => number === now.at(-1) || !now.includes(number));
    const next = free[free.indexOf(now.at(-1)) + by];
    if (next === undefined) return;
    changed({ picks: [...now.slice(0, -1), next].join("-") });
    refresh();
  }

  canvas.addEventListener("click", (event) => {
    if (settings.data !== "drawn" && canTrain(world)) pick(nearest(world.run, ...place(event)));
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!by || settings.data === "drawn" || !canTrain(world)) return;
    event.preventDefault();
    walkAlong(by);
  });
  drawing(canvas, place, settings, (points) => {
    changed({ points });
    replaceData(world, dataOf(settings));
    forgetPhase(); // its batch may be of points that are gone
    refresh();
  });
  new ResizeObserver(() => soon(paint)).observe(byId("toy"));

  return {
    play, pause, restart, refresh,
    step: () => canTrain(world) && whole(),
    opened: refresh,
    isPlaying: () => isPlaying,
    steps: () => world.run.step,
    canvases: () => ["plane", "latent", "curves"].map(byId),
    world: () => world,
    view: () => view,
    pace: (milliseconds) => (phaseLasts = milliseconds), // for tests
  };
}

/** What a phase of slow motion computes, with the step's own numbers. */
function sentence(phase, last, settings) {
  const rows = last.rows === 1 ? "point" : "points", many = `${last.rows} ${rows}`;
  const total = `${shown(last.reconstruction)} + ${shown(settings.beta)} \u00b7 ${shown(last.kl)}`;
  const trained = settings.train === "both" ? "both networks" : `the ${settings.train} alone`;
  const draws = settings.samples === 1 ? "a draw" : `${settings.samples} draws`;
  return {
    data: `A batch of ${many} is drawn from the data.`,
    encoder: "The encoder gives each point x its q(z|x): a mean, marked on the axis, and a width.",
    noise: settings.noise
      ? `Each q gives ${draws}: z = \u03bc + \u03c3 \u03b5.`
      : "The noise is off: z is the mean of q.",
    decoder: "The decoder maps each z into the plane. Lines lead from x to its decoded z.",
    loss: settings.samples > 1 && settings.noise
      ? `Loss: \u2212log of the mean weight of ${draws} = ${shown(last.loss)} nats.`
      : `Loss: \u2212log p(x|z) + \u03b2 KL = ${total} = ${shown(last.loss)} nats.`,
    gradients: "The loss's gradient goes back through the decoder and z to the encoder.",
    update: `Adam changes the weights of ${trained} a little.`,
  }[phase];
}
