/** Numbers in words, and texts for those who listen. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { announce, shown } from "../../../report/interactive/shared/dom.js";

test("a number has its digits, a real minus, and no minus when it is shown as 0", () => {
  const expected = [
    [[0.125], "0.13"], [[-1.25], "\u22121.25"], [[-0.004], "0.00"], [[-0], "0.00"],
    [[2, 0], "2"], [[-2.5, 1], "\u22122.5"], [[-0.4, 0], "0"], [[1e6 + 0.126], "1000000.13"],
  ];
  for (const [given, words] of expected) assert.equal(shown(...given), words);
});

test("announcements keep their distance, and the last one is made", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const said = [], element = { set textContent(text) { said.push(text); },
    get textContent() { return said.at(-1); } };
  for (let i = 0; i < 95; i++) { // 9.5 seconds
    announce(element, `step ${i}`);
    mock.timers.tick(100);
  }
  assert.deepEqual(said, ["step 0", "step 49"]);
  mock.timers.tick(500);
  assert.deepEqual(said, ["step 0", "step 49", "step 94"]);
  mock.timers.tick(60_000);
  assert.equal(said.length, 3);
  announce(element, "at once");
  assert.equal(said.at(-1), "at once");
  mock.timers.reset();
});
