"""The lab's tab of digits, on a small page of its own: real images, networks of 16 hidden units."""

import base64
import re
from itertools import pairwise
from statistics import median

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from published import load
from screen import painted

from vae_helpers import PROJECT
from vae_helpers.data import load_mnist

bundle, lab = load("bundle"), load("lab")

SOURCES = PROJECT / "report" / "interactive"
IMAGES, HELD_OUT = 500, 100
SHADE = 0.51 / 255
"""What rounding to 256 shades may cost a pixel on a canvas."""
SETTINGS = """{ beta: 1, rate: 0.01, batch: 32, samples: 1, noise: true, train: "both",
  units: "16", seed: 3, source: "prior", shown: 1, from: 1, to: 0, arm: 1 }"""


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """A page that holds nothing but the tab."""
    mnist = load_mnist()
    pixels = mnist.train_images[:IMAGES].mul(255).round().byte().numpy()
    labels = mnist.train_labels[:IMAGES].byte().numpy()
    content = base64.b64encode(lab.packed(pixels, labels, held_out=HELD_OUT)).decode()
    lab_part, shared = SOURCES / "lab", SOURCES / "shared"
    styles = [shared / "page.css", lab_part / "lab.css", lab_part / "digits.css"]
    page = f"""<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Digits</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:;
  style-src 'unsafe-inline'; script-src 'unsafe-inline'; worker-src blob:">
<link rel="icon" href="data:,">
<style>{"".join(path.read_text(encoding="utf-8") for path in styles)}</style>
<body class="lab"><main><h1>Digits</h1><section class="room" id="digits">
{(lab_part / "digits.html").read_text(encoding="utf-8")}</section></main>
<script type="text/plain" id="worker-source">{bundle.script(lab_part / "digits_worker.js")}</script>
<script type="application/octet-stream" id="digits-data">{content}</script>
<script type="module">{bundle.script(lab_part / "digits_panel.js")}
const {{ byId }} = modules.dom, {{ normal, streamSeed }} = modules.random;
window.changes = [];
window.draws = (seed, count) => Array.from({{ length: count }}, normal(streamSeed(seed, "shown")));
const {{ digitsPanel }} = modules.digits_panel;
window.panel = digitsPanel(byId("digits"), {SETTINGS}, (change) => window.changes.push(change));
</script></html>"""
    path = tmp_path_factory.mktemp("digits") / "digits.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(address, visit):
    """The page with both runs at step 0; nothing may go wrong on it, and nobody is asked."""
    visited = visit(address)
    visited.page.evaluate("panel.start()")
    wait(visited.page, "state.isReady && state.losses")
    yield visited.page
    assert visited.problems == []


def wait(page, condition):
    page.wait_for_function(f"() => {{ const state = panel.state(); return {condition}; }}")
    painted(page)


def steps(page, count):
    """Exactly so many steps, and everything shown."""
    until = page.evaluate("panel.state().step") + count
    page.evaluate("(count) => panel.step(count)", count)
    wait(page, f"state.step === {until} && !state.isPlaying")


def shades(page, name):
    """How much ink a canvas holds, `[height, width]` in [0, 1]."""
    width, ink = page.evaluate(
        """(name) => {
          const canvas = document.getElementById(name);
          const copy = new OffscreenCanvas(canvas.width, canvas.height);
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0);
          const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
          return [canvas.width, Array.from(data).filter((_, i) => i % 4 === 3)];
        }""",
        name,
    )
    return torch.tensor(ink, dtype=torch.float64).reshape(-1, width) / 255


def grid(sheet, across, *, gap=3):
    """The pictures of a sheet, row by row, `[N, 784]`."""
    pitch = 28 + gap
    rows = range(0, sheet.shape[0] - 27, pitch)
    cells = [
        sheet[top : top + 28, i * pitch : i * pitch + 28] for top in rows for i in range(across)
    ]
    return torch.stack([cell.reshape(-1) for cell in cells])


def weights(page):
    """Each run's encoder and decoder, as PyTorch's layers, from what the worker answers."""
    posted = page.evaluate(
        """async () => (await panel.weights()).runs.map(({ encoder, decoder }) =>
          [encoder, decoder].map((side) => side.map((array) => Array.from(array))))"""
    )
    return [[network(side) for side in run] for run in posted]


def network(arrays):
    """A perceptron of one hidden layer in double precision."""
    tensors = [torch.tensor(array, dtype=torch.float64) for array in arrays]
    weight, bias, top_weight, top_bias = tensors
    layers = torch.nn.Sequential(
        torch.nn.Linear(len(weight) // len(bias), len(bias)),
        torch.nn.ReLU(),
        torch.nn.Linear(len(bias), len(top_bias)),
    ).double()
    state = [weight.reshape(len(bias), -1), bias, top_weight.reshape(len(top_bias), -1), top_bias]
    layers.load_state_dict(dict(zip(layers.state_dict(), state, strict=True)))
    return layers.requires_grad_(False)


# ---- Running -----------------------------------------------------------------------------------


def test_play_trains_until_pause(opened):
    opened.evaluate("panel.play()")
    wait(opened, "state.step > 30 && state.isPlaying")
    opened.evaluate("panel.pause()")
    wait(opened, "!state.isPlaying")
    paused_at = opened.evaluate("panel.state().step")
    opened.wait_for_timeout(400)
    assert opened.evaluate("panel.state().step") == paused_at > 30


def test_steps_are_counted_with_the_images_they_saw(opened):
    steps(opened, 3)
    steps(opened, 1)
    assert opened.locator("#digits-status").inner_text() == "Step 4, 128 images seen"


def test_reset_begins_the_same_run_again(opened):
    steps(opened, 12)
    first = weights(opened)[1][1].state_dict()
    opened.evaluate("panel.reset()")
    wait(opened, "state.step === 0")
    assert opened.locator("#digits-status").inner_text() == "Step 0, 0 images seen"
    steps(opened, 5)
    opened.evaluate("panel.set({ source: 'aggregate', shown: 9, from: 5 })")  # looking is no change
    steps(opened, 7)
    again = weights(opened)[1][1].state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_another_seed_begins_another_run(opened):
    before = weights(opened)[1][1].state_dict()
    opened.evaluate("panel.setSeed(4)")
    wait(opened, "state.begun === 2")
    after = weights(opened)[1][1].state_dict()
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_a_setting_holds_from_the_next_step_on(opened):
    steps(opened, 2)
    before = weights(opened)
    opened.evaluate("panel.set({ train: 'decoder' })")
    steps(opened, 2)
    for (encoder, decoder), (encoder_after, decoder_after) in zip(
        before, weights(opened), strict=True
    ):
        assert torch.equal(encoder[0].weight, encoder_after[0].weight)
        assert not torch.equal(decoder[0].weight, decoder_after[0].weight)


def test_the_page_answers_while_the_worker_trains(opened):
    opened.evaluate("panel.play()")
    wait(opened, "state.step > 20")
    gaps = opened.evaluate(
        """() => new Promise((done) => {
          const gaps = [];
          let before = performance.now();
          const frame = (now) => {
            gaps.push(now - before);
            before = now;
            if (gaps.length < 120) requestAnimationFrame(frame);
            else done(gaps.slice(1));
          };
          requestAnimationFrame(frame);
        })"""
    )
    assert median(gaps) < 50


# ---- Pictures ----------------------------------------------------------------------------------


def test_samples_are_what_pytorch_decodes_from_one_noise_for_both_runs(opened):
    steps(opened, 20)
    runs = weights(opened)
    z = torch.tensor(opened.evaluate("draws(1, 50)"), dtype=torch.float64).reshape(25, 2)
    for arm, (_, decoder) in enumerate(runs):
        seen = grid(shades(opened, f"digits-samples-{arm}"), 5)
        assert (seen - decoder(z).sigmoid()).abs().max() < SHADE + 1e-5
    assert not torch.allclose(*(decoder(z) for _, decoder in runs))


def test_reconstructions_are_what_pytorch_makes_of_the_image_above_each(opened):
    steps(opened, 20)
    for arm, (encoder, decoder) in enumerate(weights(opened)):
        sheet = shades(opened, f"digits-reconstructions-{arm}")
        for row, top in enumerate((0, 70)):
            for column in range(5):
                left = 31 * column
                pair = sheet[top : top + 56, left : left + 28]
                image, reconstruction = pair[:28].reshape(-1), pair[28:].reshape(-1)
                assert image.max() > 0.5, f"no digit {5 * row + column}"
                mu = encoder(image)[:2]
                assert (reconstruction - decoder(mu).sigmoid()).abs().max() < SHADE + 1e-5


def test_the_map_is_decoded_at_the_priors_quantiles(opened):
    steps(opened, 20)
    runs = weights(opened)
    shares = (torch.arange(16, dtype=torch.float64) + 0.5) / 16
    at = torch.special.ndtri(shares)
    z = torch.stack([torch.stack([x, y]) for y in at.flip(0) for x in at])
    for arm in (1, 0):
        opened.locator(f"[name=digits-arm][value='{arm}']").check()
        name = ("BCE only", "BCE + KL")[arm]
        opened.wait_for_function(
            "(name) => document.getElementById('digits-map').ariaLabel.includes(name)", arg=name
        )
        painted(opened)
        seen = grid(shades(opened, "digits-map"), 16, gap=0)
        assert (seen - runs[arm][1](z).sigmoid()).abs().max() < SHADE + 1e-5


def test_samples_follow_training_the_draws_and_their_source(opened):
    sheets = [shades(opened, "digits-samples-1")]
    steps(opened, 5)
    sheets.append(shades(opened, "digits-samples-1"))
    for action in (
        lambda: opened.get_by_role("button", name="Other draws").click(),
        lambda: opened.get_by_label("from the codes of the data").check(),
    ):
        before = opened.evaluate("panel.pictures().samples")
        action()
        opened.wait_for_function(
            "(before) => panel.pictures().samples.some((x, i) => x !== before[i])", arg=before
        )
        painted(opened)
        sheets.append(shades(opened, "digits-samples-1"))
    assert all(not torch.equal(a, b) for i, a in enumerate(sheets) for b in sheets[i + 1 :])
    assert opened.evaluate("changes") == [{"shown": 2}, {"source": "aggregate"}]


def test_the_strip_ends_at_the_two_digits_that_are_chosen(opened):
    steps(opened, 20)
    opened.locator("#digits-from").select_option("7")
    opened.locator("#digits-to").select_option("8")
    opened.wait_for_function(
        "() => document.getElementById('digits-strip-1').ariaLabel.includes('from a 7 to a 8')"
    )
    painted(opened)
    for arm in (0, 1):
        strip = grid(shades(opened, f"digits-strip-{arm}"), 9, gap=2)
        pairs = shades(opened, f"digits-reconstructions-{arm}")
        ends = [pairs[98:126, 31 * i : 31 * i + 28].reshape(-1) for i in (2, 3)]  # 7 and 8
        assert torch.equal(strip[0], ends[0])
        assert torch.equal(strip[-1], ends[1])


# ---- For everybody -----------------------------------------------------------------------------


def test_every_canvas_says_what_it_shows_now(opened):
    steps(opened, 7)
    labels = opened.locator("canvas").evaluate_all(
        "all => all.map(each => [each.id, each.getAttribute('role'), each.ariaLabel])"
    )
    assert len(labels) == 11
    for name, role, words in labels:
        assert role == "img"
        assert re.search(r"step 7\b|\b7 steps", words), (name, words)


def test_the_status_is_spoken_at_most_every_five_seconds(opened):
    opened.evaluate(
        """() => {
          window.spoken = [];
          new MutationObserver(() => spoken.push(performance.now()))
            .observe(document.getElementById("digits-spoken"), { childList: true });
          panel.play();
        }"""
    )
    opened.wait_for_timeout(6500)
    moments = opened.evaluate("spoken")
    assert 1 <= len(moments) <= 2
    assert all(b - a >= 4900 for a, b in pairwise(moments))


def test_a_browser_that_cannot_unpack_says_so(address, visit):
    page = visit(address).page
    page.evaluate("document.getElementById('digits-data').textContent = 'AAAA'; panel.start()")
    page.wait_for_function("() => panel.state().failure")
    painted(page)
    assert (
        page.locator("#digits-status").inner_text().startswith("The digits cannot be trained here")
    )


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_no_barrier_is_found_by_axe(address, visit, color_scheme):
    page = visit(address, color_scheme=color_scheme).page
    found = Axe().run(page).response["violations"]
    page.evaluate("panel.step(2)")
    wait(page, "state.step === 2")
    found += Axe().run(page).response["violations"]
    assert [each["id"] for each in found] == []


@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_nothing_is_wider_than_the_screen_and_nothing_moves_while_it_trains(address, visit, width):
    page = visit(address, width=width).page
    page.evaluate("panel.start()")
    wait(page, "state.isReady && state.losses")
    boxes = (
        "() => [...document.querySelectorAll('canvas, figcaption, .controls')].map((each) => "
        "Object.values(each.getBoundingClientRect().toJSON()).map(Math.round))"
    )
    before = page.evaluate(boxes)
    steps(page, 60)
    assert page.evaluate(boxes) == before
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 2560])
def test_digits_are_as_tall_as_they_are_wide(address, visit, width):
    page = visit(address, width=width).page
    stretched = page.locator("canvas.ink").evaluate_all(
        """all => all.map((each) => {
          const room = 2 * parseFloat(getComputedStyle(each).padding);
          const across = (each.clientWidth - room) / each.width;
          return across / ((each.clientHeight - room) / each.height);
        })"""
    )
    assert len(stretched) == 7
    assert stretched == pytest.approx([1] * 7, abs=0.03)  # pixels are whole
