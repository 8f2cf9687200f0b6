"""The modules that the interactive pages share, in node; their random numbers against Python's."""

import json
import subprocess
from statistics import NormalDist

import pytest
from playwright._impl._driver import compute_driver_executable
from published import load

from vae_helpers import PROJECT

bundle = load("bundle")

NODE = compute_driver_executable()[0]
WEB = PROJECT / "tests" / "browser" / "web"
RANDOM = PROJECT / "report" / "interactive" / "shared" / "random.js"
TESTS = sorted(
    path.name for path in WEB.glob("*.test.js") if not path.name.startswith("lab_")
)  # those of the lab's arithmetic are run in test_lab_arithmetic.py


def node(*arguments, given=""):
    return subprocess.run(
        [NODE, *arguments], input=given, capture_output=True, encoding="utf-8", timeout=60
    )


@pytest.mark.parametrize("name", TESTS)
def test_in_node(name):
    done = node("--test", WEB / name)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def test_a_wrong_fact_in_node_is_noticed(tmp_path):
    wrong = tmp_path / "wrong.test.mjs"
    code = 'import { test } from "node:test";\ntest("1", () => { throw Error("2"); });\n'
    wrong.write_text(code, encoding="utf-8")
    assert node("--test", wrong).returncode != 0


def mulberry32(seed):
    """Tommy Ettinger's generator, in whole numbers of 32 bits."""
    word = 2**32 - 1
    while True:
        seed = (seed + 0x6D2B79F5) & word
        bits = ((seed ^ (seed >> 15)) * (seed | 1)) & word
        bits ^= (bits + (bits ^ (bits >> 7)) * (bits | 61)) & word
        yield ((bits ^ (bits >> 14)) + 0.5) / 2**32


@pytest.mark.parametrize("seed", [0, 1, 123_456_789, 2**32 - 1])
def test_uniform_numbers_are_those_of_mulberry32(seed):
    script = f"""import {{ uniform }} from "{RANDOM.as_uri()}";
      console.log(JSON.stringify(Array.from({{ length: 1000 }}, uniform({seed}))));"""
    drawn = json.loads(node("--input-type=module", given=script).stdout)
    expected = mulberry32(seed)
    assert drawn == [next(expected) for _ in drawn]


def test_normal_numbers_are_normal():
    """Kolmogorov-Smirnov, whose statistic exceeds 1.95 in one of a thousand samples."""
    script = f"""import {{ normal }} from "{RANDOM.as_uri()}";
      console.log(JSON.stringify(Array.from({{ length: 500_000 }}, normal(1))));"""
    drawn = sorted(json.loads(node("--input-type=module", given=script).stdout))
    below = [NormalDist().cdf(x) for x in drawn]
    count = len(drawn)
    farthest = max(max((i + 1) / count - p, p - i / count) for i, p in enumerate(below))
    assert farthest * count**0.5 < 1.95


MODULES = {
    "main.js": """import { twice, Counter, once, LIST } from "./tools.js";
import {
  own,
} from "./deep/other.js";
import * as tools from "./tools.js";
const hidden = "main";
console.log(JSON.stringify([
  twice(4), new Counter().count, LIST, own(), hidden, Object.keys(tools).sort(), [...once()],
]));
""",
    "tools.js": r"""/** Tools; what they export is used elsewhere. */
const hidden = "tools";
export const LIST = [hidden, "$1 $& \\1 {{ a }}"];
export function twice(x) {
  return 2 * x;
}
export function* once() {
  yield 1;
}
export async function later() {}
export class Counter {
  count = 7;
}
""",
    "deep/other.js": """import { LIST } from "../tools.js";
let calls = 0;
export const own = () => [...LIST, ++calls];
""",
}


def test_the_script_does_what_the_modules_do(tmp_path):
    (tmp_path / "deep").mkdir()
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}', encoding="utf-8")
    (tmp_path / "script.mjs").write_text(bundle.script(tmp_path / "main.js"), encoding="utf-8")
    as_modules, as_script = (node(tmp_path / name).stdout for name in ("main.js", "script.mjs"))
    assert json.loads(as_modules)[:2] == [8, 7]
    assert as_script == as_modules
