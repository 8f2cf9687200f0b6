"""What the explorer shows is what PyTorch's own networks make of the same latent numbers."""

import base64
import hashlib
import io
import json
import math
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from published import load
from safetensors.torch import load_file, save_file
from screen import painted
from torch.distributions import Normal
from toy_decoders import LATENTS, toy_decoders, write_toy_weights

from vae_helpers import PROJECT
from vae_helpers.models import VAE, Generator

bundle = load("bundle")
explorer = load("explorer")

MODELS = ("vae", "vae_2d", "gan")
WEIGHTS = PROJECT / "report" / "weights"
AGREES = 1e-4
"""In every pixel. Half precision misses it by far, and so does one changed weight."""
SHADE = 0.51 / 255
"""What rounding to 256 shades may cost a pixel on a canvas."""


# ---- Pages and the networks that they hold -----------------------------------------------------


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A page of small networks, the networks, and the codes that the page offers."""
    folder = tmp_path_factory.mktemp("explorer")
    networks = toy_decoders()
    extras = write_toy_weights(folder, networks)
    (folder / "explorer.html").write_text(explorer.page(folder), encoding="utf-8")
    return folder / "explorer.html", networks, extras


@pytest.fixture
def opened(toy, visit):
    """The page of small networks, opened from its file; nothing may go wrong on it."""
    visited = visit(toy[0].as_uri())
    ready(visited.page)
    yield visited.page
    assert visited.problems == []


@pytest.fixture
def phone(toy, visit):
    """The same on a screen that is 360 pixels wide, with everything unfolded."""
    page = visit(toy[0].as_uri(), width=360, height=740).page
    unfold(page)
    return page


def ready(page):
    page.evaluate("explorer.ready")


def unfold(page):
    ready(page)
    page.locator("summary").click()
    page.get_by_role("checkbox", name="test images").check()
    painted(page)


def committed_networks():
    """PyTorch's networks with the weights of the committed files."""
    networks = {"vae": VAE(), "vae_2d": VAE(latent_dim=2), "gan": Generator(batch_norm=False)}
    for name, network in networks.items():
        tensors = load_file(WEIGHTS / f"09_latent_space_{name}.safetensors")
        hidden = network.hidden if name == "gan" else network.decoder
        linear = [module for module in hidden if hasattr(module, "weight")]
        for number, layer in enumerate([*linear, network.to_logits]):
            layer.weight.data = tensors[f"{number}.weight"]
            layer.bias.data = tensors[f"{number}.bias"]
    return networks


@torch.no_grad()
def images_of(networks, name, z):
    """`[..., D]` to images `[..., 784]`, by the network itself."""
    network, z = networks[name], torch.as_tensor(z)
    return network(z) if name == "gan" else torch.sigmoid(network.decode(z))


def largest_difference(page, networks, name, draws=200):
    """Between the pixels of the page's decoder and of PyTorch's, over draws from the prior."""
    size = networks[name].latent_dim
    z = torch.randn(draws, size, generator=torch.Generator().manual_seed(0))
    decoded = page.evaluate(  # as text: the browser's driver takes long over every number
        "([name, z]) => JSON.stringify(z.map((one) => Array.from(explorer.decode(name, one))))",
        [name, z.tolist()],
    )
    return (torch.tensor(json.loads(decoded)) - images_of(networks, name, z)).abs().max().item()


READ = """(id) => {
  const canvas = document.getElementById(id), { width, height } = canvas;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  return { width, height, data: context.getImageData(0, 0, width, height).data };
}"""
"""A canvas's pixels, from a copy: the browser warns of a canvas that is read more than once."""


def ink(page, canvas, *, columns=1, rows=1, gap=2):
    """The images on a canvas, `[rows * columns, 784]`, read back from its pixels."""
    alpha = page.evaluate(
        f"(id) => JSON.stringify(Array.from(({READ})(id).data).filter((_, i) => i % 4 === 3))",
        canvas,
    )
    step = 28 + gap
    picture = torch.tensor(json.loads(alpha)).div(255).view(rows * step - gap, columns * step - gap)
    return torch.stack(
        [
            picture[step * r : step * r + 28, step * c : step * c + 28].flatten()
            for r in range(rows)
            for c in range(columns)
        ]
    )


def shows(page, canvas, networks, name, z, **layout):
    """Whether a canvas shows what the network makes of z, to the shade."""
    expected = images_of(networks, name, z).view(-1, 784)
    return (ink(page, canvas, **layout) - expected).abs().max() < SHADE + AGREES


# ---- The decoders ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_the_page_decodes_as_the_trained_networks(toy, opened, name):
    assert largest_difference(opened, toy[1], name) < AGREES


@pytest.mark.parametrize("name", MODELS)
def test_the_book_s_page_decodes_as_pytorch_with_the_committed_weights(book_url, visit, name):
    visited = visit(f"{book_url}/explorer.html")
    assert largest_difference(visited.page, committed_networks(), name) < AGREES
    assert visited.problems == []


@pytest.mark.parametrize("name", MODELS)
def test_the_book_s_page_holds_the_weights_of_the_run(book, name):
    page = (book / "explorer.html").read_text(encoding="utf-8")
    held = base64.b64decode(re.search(f'octet-stream" id="{name}">([^<]*)<', page)[1])
    results = json.loads(
        (PROJECT / "report" / "results" / "09_latent_space.json").read_text(encoding="utf-8")
    )
    assert hashlib.sha256(held).hexdigest() == results["weights"][name]["sha256"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layer", [0, 3])
def test_one_changed_weight_is_noticed(toy, visit, tmp_path, name, layer):
    file, networks, _ = toy
    for path in file.parent.glob("*.safetensors"):
        tensors = load_file(path)
        if path.stem == f"09_latent_space_{name}":
            unit = tensors[f"{layer}.weight"].abs().sum(dim=0).argmax()  # one that is in use
            tensors[f"{layer}.weight"][0, unit] += 0.5
        save_file(tensors, tmp_path / path.name)
    (tmp_path / "explorer.html").write_text(explorer.page(tmp_path), encoding="utf-8")
    page = visit((tmp_path / "explorer.html").as_uri()).page
    assert largest_difference(page, networks, name) > 10 * AGREES


# ---- Latent dimensions -------------------------------------------------------------------------


def sliders(page):
    """The latent dimensions of the sliders, from top to bottom."""
    ids = page.locator(".dimension input").evaluate_all("(all) => all.map((one) => one.id)")
    return [int(name.removeprefix("z")) for name in ids]


def test_the_sliders_are_in_the_order_of_their_kl(toy, opened):
    kl = toy[2]["vae"]["kl"]
    assert sliders(opened) == kl.argsort(descending=True, stable=True).tolist()
    assert opened.locator("#used-dimensions .dimension").count() == LATENTS - 2
    assert opened.locator("summary").inner_text() == "2 unused dimensions, below 0.01 nats each"
    nats = opened.locator("#used-dimensions .nats").all_inner_texts()
    assert nats == [f"{value:.2f} nats" for value in kl.sort(descending=True).values[:-2]]
    widths = opened.locator("#used-dimensions .bar span").evaluate_all(
        "(all) => all.map((one) => one.offsetWidth / one.parentNode.offsetWidth)"
    )
    assert widths == pytest.approx((kl.sort(descending=True).values[:-2] / 2).tolist(), abs=0.02)


def keyed_like_pytorch(page, networks, code):
    """Move every slider by the keyboard; those after which the picture is not PyTorch's."""
    page.locator("summary").click()
    page.get_by_role("combobox", name="Start from").select_option("0")
    painted(page)
    z, wrong = code.clone(), []
    for k in sliders(page):
        slider, before = page.locator(f"#z{k}"), ink(page, "dimensions-picture")
        for key in ("Home", "PageUp", "ArrowRight"):
            slider.press(key)
        painted(page)
        z[k] = float(slider.input_value())
        moved = -3 < z[k] < 3 and not torch.equal(ink(page, "dimensions-picture"), before)
        if not (moved and shows(page, "dimensions-picture", networks, "vae", z)):
            wrong.append(k)
    return wrong


def test_every_slider_changes_the_picture_as_pytorch_says(toy, opened):
    _, networks, extras = toy
    assert keyed_like_pytorch(opened, networks, extras["vae"]["codes"][0]) == []


def test_every_slider_of_the_book_s_page_changes_the_picture_as_pytorch_says(book_url, visit):
    page = visit(f"{book_url}/explorer.html").page
    codes = load_file(WEIGHTS / "09_latent_space_vae.safetensors")["codes"]
    wrong = keyed_like_pytorch(page, committed_networks(), codes[0])
    # an unused dimension may leave every shade as it is
    assert set(wrong) <= set(sliders(page)[page.locator("#used-dimensions .dimension").count() :])


def test_the_picture_starts_from_the_code_that_is_chosen(toy, opened):
    _, networks, extras = toy
    start = opened.get_by_role("combobox", name="Start from")
    assert start.locator("option").all_inner_texts()[1:] == [
        f"{digit}, image {number}" for digit in range(10) for number in range(1, 6)
    ]
    start.select_option("7, image 3")
    painted(opened)
    code = extras["vae"]["codes"][37]
    assert shows(opened, "dimensions-picture", networks, "vae", code)
    values = opened.locator(".dimension .value").all_text_contents()
    shown = [float(value.replace("\N{MINUS SIGN}", "-")) for value in values]
    assert shown == pytest.approx(code[sliders(opened)].tolist(), abs=0.00501)
    opened.locator("#z3").press("ArrowRight")
    assert start.input_value() == ""  # it is that code no longer


def test_all_to_0_goes_back_to_the_middle(toy, opened):
    opened.get_by_role("button", name="All to 0").click()
    painted(opened)
    assert shows(opened, "dimensions-picture", toy[1], "vae", torch.zeros(LATENTS))
    assert set(opened.locator(".dimension .value").all_text_contents()) == {"0.00"}
    label = opened.locator("#dimensions-picture").get_attribute("aria-label")
    assert label == f"Decoded from z ({', '.join(['0.00'] * LATENTS)})"


def test_a_random_draw_is_decoded_and_another_follows(toy, opened):
    opened.evaluate("() => { let n = 0; Math.random = () => ++n / 10; }")
    drawn = []
    for number in (1, 2):
        opened.get_by_role("button", name="Random draw").click()
        painted(opened)
        drawn.append(normals(opened, number / 10 * 2**32, LATENTS))
        assert shows(opened, "dimensions-picture", toy[1], "vae", drawn[-1])
    assert not torch.equal(*drawn)


def normals(page, seed, count):
    script = """([seed, count]) => {
      const source = explorer.normal(seed);
      return Array.from({ length: count }, source);
    }"""
    return torch.tensor(page.evaluate(script, [seed, count]))


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_draws_are_standard_normal(opened, seed):
    drawn = normals(opened, seed, 20_000)
    shares = Normal(0, 1).cdf(drawn).sort().values
    farthest = (shares - (torch.arange(20_000) + 0.5) / 20_000).abs().max()
    assert farthest < 1.95 / math.sqrt(20_000)  # Kolmogorov and Smirnov, at 0.1 %
    assert abs(drawn.square().mean() - 1) < 4 * math.sqrt(2 / 20_000)
    assert abs((drawn[1:] * drawn[:-1]).mean()) < 4 / math.sqrt(20_000)  # neighbours


# ---- A walk between two digits -----------------------------------------------------------------


def middle(a, b, angle):
    """Halfway on the arc: a(t - h) + a(t + h) = 2 cos(h * angle) a(t) for sines and cosines."""
    return (a + b) / (2 * math.cos(angle / 2))


def arc(a, b):
    """Nine points on the way from a to b about the origin, by halving it three times."""
    points = [a, b]
    angle = torch.atan2(  # between two vectors, as Kahan has it
        (a / a.norm() - b / b.norm()).norm(), (a / a.norm() + b / b.norm()).norm()
    ).mul(2)
    for halving in range(3):
        between = [middle(p, q, angle / 2**halving) for p, q in pairwise(points)]
        points = [p for pair in zip(points[:-1], between, strict=True) for p in pair] + [b]
    return torch.stack(points)


@pytest.mark.parametrize("way", ["straight", "spherical"])
def test_a_walk_goes_the_way_that_is_chosen(toy, opened, way):
    _, networks, extras = toy
    a, b = extras["vae"]["codes"][[11, 43]]
    opened.get_by_role("combobox", name="From", exact=True).select_option("2, image 2")
    opened.get_by_role("combobox", name="To", exact=True).select_option("8, image 4")
    opened.get_by_role("radio", name=way).check()
    opened.get_by_role("slider", name="Position").fill("0.25")
    painted(opened)
    line = a + torch.linspace(0, 1, 9)[:, None] * (b - a)
    points = line if way == "straight" else arc(a, b)
    assert shows(opened, "walk-film", networks, "vae", points, columns=9)
    assert shows(opened, "walk-picture", networks, "vae", points[2])
    assert opened.locator("#walk-length").inner_text() == f"{points[2].norm():.2f}"
    label = opened.locator("#walk-picture").get_attribute("aria-label")
    assert label == f"Decoded at 0.25 of the {way} way from 2 to 8"


def test_the_two_ways_differ(opened):
    films = []
    for way in ("straight", "spherical"):
        opened.get_by_role("radio", name=way).check()
        painted(opened)
        films.append(ink(opened, "walk-film", columns=9))
    assert torch.equal(films[0][[0, 8]], films[1][[0, 8]])
    assert not torch.equal(films[0][4], films[1][4])


def test_a_walk_from_a_code_to_itself_stays_there(toy, opened):
    _, networks, extras = toy
    opened.get_by_role("radio", name="spherical").check()
    for end in ("From", "To"):
        opened.get_by_role("combobox", name=end, exact=True).select_option("5, image 1")
    painted(opened)
    code = extras["vae"]["codes"][25]
    assert shows(opened, "walk-film", networks, "vae", code.expand(9, -1), columns=9)


# ---- The plane of two latents ------------------------------------------------------------------


def test_the_map_is_the_inverse_gaussian_grid(toy, opened):
    share = (torch.arange(20) + 0.5) / 20
    at = Normal(0, 1).icdf(share)
    z = torch.cartesian_prod(at.flip(0), at).flip(1)  # rows from the top, z1 upwards
    assert shows(opened, "map-grid", toy[1], "vae_2d", z, columns=20, rows=20, gap=0)


def drag(page, *points):
    """Press at the first share of the map's width and height, and go on to the others."""
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map-grid").bounding_box()
    places = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    painted(page)


def test_dragging_decodes_the_point_under_the_pointer(toy, opened):
    for points in [[(0.5, 0.25)], [(0.5, 0.5), (0.6, 0.3), (0.875, 0.0625)]]:
        drag(opened, *points)
        u, v = torch.tensor(points[-1])
        z = Normal(0, 1).icdf(torch.stack([u, 1 - v]))
        assert (ink(opened, "map-picture") - images_of(toy[1], "vae_2d", z)).abs().max() < 0.02
        marker, box = (opened.locator(f"#map-{it}").bounding_box() for it in ("marker", "grid"))
        middle = (marker["x"] + marker["width"] / 2, marker["y"] + marker["height"] / 2)
        under = (box["x"] + u * box["width"], box["y"] + v * box["height"])
        assert middle == pytest.approx(tuple(map(float, under)), abs=2)
        opened.mouse.up()


def test_the_point_stays_when_the_button_is_up(opened):
    drag(opened, (0.3, 0.3))
    opened.mouse.up()
    before = opened.locator("#map-z").inner_text()
    opened.mouse.move(*(opened.locator("#map").bounding_box()[it] + 200 for it in ("x", "y")))
    painted(opened)
    assert opened.locator("#map-z").inner_text() == before


def test_the_point_stays_on_the_map_when_the_pointer_leaves_it(opened):
    drag(opened, (0.5, 0.5), (1.4, -0.2))
    opened.mouse.up()
    assert opened.locator("#map-z").inner_text() == "3.00, 3.00"


def test_the_keys_move_the_point_on_the_map(toy, opened):
    for k, label in enumerate(["to the right", "upwards"]):
        slider = opened.get_by_role("slider", name=label)
        for key in ["Home"] + ["PageUp"] * (k + 2) + ["ArrowUp"]:
            slider.press(key)
    painted(opened)
    z = torch.tensor([float(opened.locator(f"#map-{k}").input_value()) for k in (0, 1)])
    assert -3 < z[0] < z[1] < 3
    assert shows(opened, "map-picture", toy[1], "vae_2d", z)
    written = ", ".join(f"{x:.2f}" for x in z).replace("-", "\N{MINUS SIGN}")
    label = opened.locator("#map-picture").get_attribute("aria-label")
    assert label == f"Decoded from z ({written})"


def dots(page):
    """How many pixels of the map are covered by codes."""
    return page.evaluate(
        f"({READ})('map-codes').data.filter((value, i) => i % 4 === 3 && value).length"
    )


def test_codes_are_shown_with_the_digit_s_name_and_can_be_hidden_by_digit(toy, opened):
    names = opened.locator("#map-names span")
    assert not names.first.is_visible()
    assert opened.locator("#map-count").inner_text() == "60"
    opened.get_by_role("checkbox", name="test images").check()
    painted(opened)
    assert names.all_inner_texts() == [str(digit) for digit in range(10)]
    everything = dots(opened)
    for digit in range(10):
        if digit != 4:
            opened.get_by_role("checkbox", name=str(digit), exact=True).uncheck()
    painted(opened)
    assert [name.inner_text() for name in names.all() if name.is_visible()] == ["4"]
    assert 0 < dots(opened) < everything / 5
    label = opened.locator("#map-codes").get_attribute("aria-label")
    assert label == "Codes of test images of the digits 4"


def test_a_code_lies_where_dragging_there_decodes_it(toy, opened):
    codes, labels = (toy[2]["vae_2d"][it] for it in ("codes", "labels"))
    opened.get_by_role("checkbox", name="test images").check()
    painted(opened)
    place = opened.evaluate(
        f"read = {READ};"
        """() => {
          const { width, height, data } = read("map-codes");
          const colour = [0x1f, 0x77, 0xb4]; // of the zeros
          const own = [];
          for (let i = 0; i < width * height; i++) {
            if (colour.every((value, k) => data[4 * i + k] === value)) own.push(i);
          }
          return own.map((i) => [(i % width + 0.5) / width, 1 - Math.floor(i / width) / height]);
        }"""
    )
    shares = Normal(0, 1).cdf(codes[labels == 0])
    far = torch.cdist(torch.tensor(place), shares).min(dim=1).values.max()
    assert far < 7 / 1120  # within the disc of some zero


def test_a_digit_s_name_stands_in_the_middle_of_its_codes(toy, opened):
    codes = toy[2]["vae_2d"]["codes"].view(10, 6, 2)
    opened.get_by_role("checkbox", name="test images").check()
    across, up = Normal(0, 1).cdf(codes.kthvalue(4, dim=1).values).T  # the upper of two middles
    box = opened.locator("#map-grid").bounding_box()
    for digit, name in enumerate(opened.locator("#map-names span").all()):
        own = name.bounding_box()
        right = own["x"] + own["width"] / 2 - box["x"]
        down = own["y"] + own["height"] / 2 - box["y"]
        assert right == pytest.approx(across[digit].item() * box["width"], abs=1)
        assert down == pytest.approx((1 - up[digit].item()) * box["height"], abs=1)


# ---- VAE and GAN on the same draws -------------------------------------------------------------


def test_both_networks_decode_the_draws_of_the_seed(toy, opened):
    seed = opened.get_by_role("spinbutton", name="Seed")
    first = [ink(opened, f"draws-{name}", columns=5, rows=5) for name in ("vae", "gan")]
    opened.get_by_role("button", name="Draw again").click()
    painted(opened)
    assert seed.input_value() == "2"
    z = normals(opened, 2, 25 * LATENTS).view(25, LATENTS)
    for name in ("vae", "gan"):
        assert shows(opened, f"draws-{name}", toy[1], name, z, columns=5, rows=5)
    seed.fill("1")
    painted(opened)
    again = [ink(opened, f"draws-{name}", columns=5, rows=5) for name in ("vae", "gan")]
    assert all(map(torch.equal, first, again))


# ---- The address and the pictures --------------------------------------------------------------


LOOK = f"""() => {{
  const read = {READ};
  const controls = document.querySelectorAll("input, select, details");
  const canvases = document.querySelectorAll("canvas");
  const hash = (data) => data.reduce((sum, x) => (31 * sum + x) | 0, 7);
  return {{
    controls: Array.from(controls, (it) => [it.id, it.value, it.checked, it.open]),
    pictures: Array.from(canvases, (it) => [
      it.id, it.hidden, it.ariaLabel, hash(read(it.id).data)]),
    words: document.querySelector("main").innerText,
  }};
}}"""
"""Everything that can be seen and set."""


def look(page):
    ready(page)
    painted(page)
    return page.evaluate(LOOK)


def fragment(page):
    """What the address holds once the settings have rested."""
    page.wait_for_timeout(400)
    return page.url.partition("#")[2]


def change_everything(page):
    """Every setting that a link holds, by the controls of the page."""
    page.locator("summary").click()
    page.get_by_role("combobox", name="Start from").select_option("7, image 3")
    page.locator("#z3").press("ArrowRight")
    page.get_by_role("combobox", name="From", exact=True).select_option("2, image 2")
    page.get_by_role("combobox", name="To", exact=True).select_option("9, image 4")
    page.get_by_role("radio", name="spherical").check()
    page.get_by_role("slider", name="Position").fill("0.37")
    drag(page, (0.31, 0.23))
    page.mouse.up()
    page.get_by_role("checkbox", name="test images").check()
    for digit in (0, 4):
        page.locator(f"#digit-{digit}").uncheck()
    page.get_by_role("spinbutton", name="Seed").fill("4294967295")


NAMES = {"z", "unused", "from", "to", "way", "t", "z1", "z2", "codes", "hidden", "seed", "code"}


def test_a_link_restores_every_setting(toy, opened, visit):
    before = look(opened)
    change_everything(opened)
    seen, held = look(opened), fragment(opened)
    assert {part.partition("=")[0] for part in held.split("&")} == NAMES
    changed = [a != b for a, b in zip(before["pictures"], seen["pictures"], strict=True)]
    assert sum(changed) == len(changed) - 1  # of all pictures only the map is always the same
    other = visit(f"{toy[0].as_uri()}#{held}")
    assert look(other.page) == seen
    assert other.problems == []


def test_another_fragment_in_the_same_page_restores_as_well(opened):
    before = look(opened)
    change_everything(opened)
    seen, held = look(opened), fragment(opened)
    opened.evaluate("location.hash = ''")
    assert look(opened) == before
    opened.evaluate("(held) => { location.hash = held; }", held)
    assert look(opened) == seen
    opened.go_back()
    assert look(opened) == before


def test_the_first_look_needs_no_fragment(opened):
    assert fragment(opened) == ""
    opened.get_by_role("slider", name="Position").fill("0.2")
    assert fragment(opened) == "t=0.2"
    opened.get_by_role("slider", name="Position").fill("0.5")
    assert fragment(opened) == ""
    assert opened.url.endswith("explorer.html")


def test_numbers_between_the_steps_of_a_slider_are_kept(toy, visit):
    page = visit(f"{toy[0].as_uri()}#z1=0.123456789&t=0.123").page
    ready(page)
    assert page.locator("#walk-t").inner_text() == "0.12"
    page.get_by_role("button", name="Draw again").click()
    assert fragment(page) == "t=0.123&z1=0.123456789&seed=2"
    z = torch.tensor([0.123456789, 0])
    assert shows(page, "map-picture", toy[1], "vae_2d", z)


def test_what_a_link_cannot_mean_is_said_and_left_out(toy, opened, visit):
    before = look(opened)
    wrong = "z=1_2&from=50&way=round&t=2&z1=-4&codes=1&hidden=x&seed=-1&colour=red"
    page = visit(f"{toy[0].as_uri()}#{wrong}").page
    assert look(page) == before
    said = page.locator("#share-status").inner_text()
    assert (
        re.findall("“(\\w+)” has to be", said)
        == wrong.replace("&colour=red", "").replace("=", "&").split("&")[::2]
    )
    assert "no setting “colour”" in said
    assert f"“z” has to be {LATENTS} numbers" in said
    assert "“from” has to be a whole number from 0 to 49, got “50”" in said
    page.evaluate("location.hash = 'seed=3'")
    painted(page)
    assert page.locator("#share-status").inner_text() == ""


def test_the_link_is_copied(toy, opened):
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.get_by_role("spinbutton", name="Seed").fill("12")
    opened.get_by_role("button", name="Copy link").click()
    painted(opened)
    assert opened.evaluate("navigator.clipboard.readText()") == f"{toy[0].as_uri()}#seed=12"
    assert opened.get_by_role("status").inner_text() == "Link copied."


def test_where_nothing_can_be_copied_the_link_is_shown_and_selected(toy, visit):
    page = visit(toy[0].as_uri()).page
    page.add_init_script(
        "navigator.clipboard.writeText = () => Promise.reject(new Error('denied'))"
    )
    page.reload()
    ready(page)
    page.get_by_role("spinbutton", name="Seed").fill("12")
    page.get_by_role("button", name="Copy link").click()
    field = page.get_by_role("textbox", name="Link")
    assert field.input_value() == f"{toy[0].as_uri()}#seed=12"
    assert page.evaluate("getSelection().toString()") == field.input_value()


def saved(page, section):
    """The picture that a section's button saves, as `[height, width, 3]`."""
    with page.expect_download() as download:
        page.locator("section").nth(section).get_by_role("button", name="Save picture").click()
    assert download.value.suggested_filename.endswith(".png")
    return np.asarray(Image.open(download.value.path()).convert("RGB"), dtype=float)


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("section", "canvases"),
    [
        (0, ["dimensions-picture"]),
        (1, ["walk-picture", "walk-film"]),
        (2, ["map-grid", "map-codes", "map-picture"]),
        (3, ["draws-vae", "draws-gan"]),
    ],
)
def test_a_saved_picture_looks_like_the_screen(toy, visit, section, canvases, color_scheme):
    page = visit(f"{toy[0].as_uri()}#codes=on&t=0.2", color_scheme=color_scheme).page
    ready(page)
    painted(page)
    picture = saved(page, section)
    page.add_style_tag(content="#map-names, #map-marker { visibility: hidden; }")
    screen = np.asarray(
        Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB"), dtype=float
    )
    boxes = [page.locator(f"#{name}").bounding_box() for name in canvases]
    scrolled = page.evaluate("scrollY")
    left, top = (min(box[it] for box in boxes) for it in ("x", "y"))
    for box in boxes:
        inset = 8  # a frame and a padding, at most
        x, y = round(box["x"]) + inset, round(box["y"] + scrolled) + inset
        width, height = round(box["width"]) - 2 * inset, round(box["height"]) - 2 * inset
        on_screen = screen[y : y + height, x : x + width]
        # the picture's margin is 16 pixels, and begins where the first canvas has its own pixels
        right, down = round(box["x"] - left) + 16 + inset, round(box["y"] - top) + 16 + inset
        difference = min(
            np.abs(
                picture[down - b : down - b + height, right - a : right - a + width] - on_screen
            ).mean()
            for a in (0, 1, 3, 5)
            for b in (0, 1, 3, 5)
        )
        # of 255; the film's pixels lie between those of the screen
        assert difference < (3 if box is boxes[-1] and section == 1 else 0.5)
        assert on_screen.std() > 5  # there is something to be seen


# ---- Speed -------------------------------------------------------------------------------------


def test_the_first_picture_is_there_within_a_second(book_url, visit):
    seconds = [
        visit(f"{book_url}/explorer.html").page.evaluate(
            "performance.getEntriesByName('first picture')[0].startTime / 1000"
        )
        for _ in range(3)
    ]
    print(f"first picture after {min(seconds):.2f} s")
    assert min(seconds) < 1


def test_thirty_frames_a_second_are_drawn_while_dragging(book_url, visit):
    page = visit(f"{book_url}/explorer.html").page
    ready(page)
    drag(page, (0.5, 0.5))
    rates = page.evaluate(
        """async () => {
          const map = document.getElementById("map"), box = map.getBoundingClientRect();
          const label = () => document.getElementById("map-picture").ariaLabel;
          const frame = () => new Promise(requestAnimationFrame);
          const rates = [];
          for (let trial = 0; trial < 3; trial++) {
            const began = performance.now();
            let drawn = 0;
            for (let i = 0; i < 60; i++) {
              const before = label();
              map.dispatchEvent(new PointerEvent("pointermove", {
                pointerId: 1,
                clientX: box.left + box.width * (0.2 + i / 100),
                clientY: box.top + box.height * (0.3 + trial / 10),
              }));
              await frame(); // asked for after the picture, so that it is painted by then
              drawn += label() !== before;
            }
            rates.push(drawn / (performance.now() - began) * 1000);
          }
          return rates;
        }"""
    )
    print(f"{max(rates):.0f} frames a second")
    assert max(rates) > 30


# ---- For everybody -----------------------------------------------------------------------------


def test_a_phone_s_width_is_enough(phone):
    wider = phone.evaluate(
        """Array.from(document.querySelectorAll("body *"))
          .filter((it) => it.getBoundingClientRect().right > 360 || it.scrollWidth > 360)
          .map((it) => it.outerHTML.slice(0, 80))"""
    )
    assert wider == []
    assert phone.evaluate("document.scrollingElement.scrollWidth") == 360


def test_no_text_is_smaller_than_14_pixels(phone):
    small = phone.evaluate(
        """Array.from(document.querySelectorAll("body, body *"))
          .filter((it) => Array.from(it.childNodes).some((c) => c.nodeType === 3 && c.data.trim()))
          .filter((it) => it.tagName !== "SCRIPT" && parseFloat(getComputedStyle(it).fontSize) < 14)
          .map((it) => it.outerHTML.slice(0, 80))"""
    )
    assert small == []
    assert phone.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_no_serious_fault_of_accessibility_is_found(toy, visit, color_scheme, width):
    visited = visit(toy[0].as_uri(), width=width, color_scheme=color_scheme)
    unfold(visited.page)
    found = Axe().run(visited.page).response
    serious = [it for it in found["violations"] if it["impact"] in ("serious", "critical")]
    assert [(it["id"], [node["html"] for node in it["nodes"]]) for it in serious] == []
    assert len(found["passes"]) > 20
    assert visited.problems == []


def test_every_picture_says_what_it_shows(opened):
    labels = opened.locator("canvas").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
    assert len(labels) == 8
    assert all(len(label) > 20 for label in labels)


def test_every_control_can_be_reached_and_seen_with_the_keyboard(opened):
    opened.locator("summary").click()
    opened.get_by_role("checkbox", name="test images").check()
    opened.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached, unseen = set(), []
    for _ in range(100):
        opened.keyboard.press("Tab")
        control, outline = opened.evaluate(
            """() => {
              const at = document.activeElement;
              const all = Array.from(document.querySelectorAll("*"));
              return [all.indexOf(at), getComputedStyle(at).outlineStyle];
            }"""
        )
        reached.add(control)
        unseen += [control] if outline == "none" else []
    wanted = opened.evaluate(
        """() => {
          const all = Array.from(document.querySelectorAll("*"));
          const controls = "a, button, select, summary, input:not([type=radio]), :checked";
          return all.flatMap((it, i) => (it.matches(controls) && it.checkVisibility() ? [i] : []));
        }"""
    )
    assert set(wanted) <= reached
    assert len(wanted) > 25
    body = opened.evaluate("Array.from(document.querySelectorAll('*')).indexOf(document.body)")
    assert set(unseen) <= {body}


def test_the_keyboard_alone_works_the_buttons_and_choices(toy, opened):
    opened.get_by_role("button", name="All to 0").press("Enter")
    opened.get_by_role("radio", name="straight").press("ArrowRight")
    opened.get_by_role("button", name="Draw again").press("Space")
    painted(opened)
    assert shows(opened, "dimensions-picture", toy[1], "vae", torch.zeros(LATENTS))
    assert opened.get_by_role("radio", name="spherical").is_checked()
    assert opened.get_by_role("spinbutton", name="Seed").input_value() == "2"


def looks(page):
    """Background of the page and whether its pictures are inverted."""
    return page.evaluate(
        """[getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.querySelector(".ink")).filter]"""
    )


LIGHT, DARK = ["rgb(255, 255, 255)", "none"], ["rgb(19, 20, 22)", "invert(1)"]


@pytest.mark.parametrize(
    ("system", "chosen", "expected"),
    [
        ("light", None, LIGHT),
        ("dark", None, DARK),
        ("light", "auto", LIGHT),
        ("dark", "auto", DARK),
        ("light", "dark", DARK),
        ("dark", "light", LIGHT),
    ],
)
def test_the_theme_is_the_one_chosen_in_the_book(toy, visit, system, chosen, expected):
    page = visit(toy[0].as_uri(), color_scheme=system).page
    if chosen:
        page.add_init_script(f"localStorage.setItem('theme', '{chosen}')")
        page.reload()
    assert looks(page) == expected


def test_the_page_works_where_nothing_can_be_stored(toy, visit):
    visited = visit(toy[0].as_uri(), color_scheme="dark")
    visited.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })"
    )
    visited.page.reload()
    ready(visited.page)
    assert looks(visited.page) == DARK
    assert visited.problems == []


def test_a_page_without_scripts_says_where_the_figures_are(toy, browser):
    page = browser.new_page(java_script_enabled=False)
    page.goto(toy[0].as_uri())
    note = page.locator("noscript .note")
    said, link = note.inner_text(), note.locator("a").get_attribute("href")
    page.close()
    assert "scripts are switched off" in said
    assert link == "notebooks/09_latent_space.html"
