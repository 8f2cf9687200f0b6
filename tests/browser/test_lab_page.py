"""Every control of the lab does what it says, and every story is true."""

import json
import re
from operator import sub
from statistics import median

import pytest
from axe_playwright_python.sync_playwright import Axe
from lab_page import (
    arrived,
    go,
    last,
    length_of_curve,
    steps,
    until,
    watched,
    weights,
    write,
)
from PIL import Image
from screen import painted

from vae_helpers import PROJECT

NOTEBOOKS = PROJECT / "notebooks"
PICTURES = PROJECT / "report" / "interactive" / "pictures"


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def opened(path, visit):
    """The page at step 0; nothing may go wrong on it."""
    visited = visit(path.as_uri())
    yield visited.page
    assert visited.problems == []


def control(page, name, *, of="toy"):
    return page.locator(f"#{of}-settings [data-state={name}], #{of} [data-state={name}]")


def set_range(page, name, value, *, of="toy"):
    control(page, name, of=of).fill(str(value))


def settings(page):
    return page.evaluate("lab.settings.toy")


def one_step(page):
    """What a single step computed."""
    page.locator("#step").click()
    painted(page)
    return page.evaluate(
        """() => {
          const { mu, z, rows, loss, reconstruction, kl } = lab.tabs.toy.world().run.last;
          return { mu: [...mu], z: [...z], rows, loss, reconstruction, kl };
        }"""
    )


# ---- Time ----------------------------------------------------------------------------------------


def test_play_trains_until_pause(opened):
    opened.locator("#play").click()
    assert opened.locator("#play").inner_text() == "Pause"
    assert until(opened, lambda: steps(opened) > 0)
    opened.locator("#play").click()
    assert opened.locator("#play").inner_text() == "Play"
    there = steps(opened)
    opened.wait_for_timeout(200)
    assert steps(opened) == there > 0
    assert opened.locator("#status").inner_text() == f"Step {there:,}"


def test_one_step_is_one_step_and_restart_goes_back(opened):
    before = weights(opened)
    for number in (1, 2, 3):
        opened.locator("#step").click()
        assert steps(opened) == number
    assert weights(opened) != before
    opened.locator("#restart").click()
    assert steps(opened) == 0
    assert weights(opened) == before


def test_fast_trains_more_steps_per_frame_than_steady(opened):
    taken = {}
    for speed in ("steady", "fast"):
        control(opened, "speed").locator(f"xpath=self::*[@value='{speed}']").check()
        taken[speed] = opened.evaluate(
            """() => new Promise((done) => {
              const before = lab.tabs.toy.steps();
              let frames = 0;
              const count = () => {
                if ((frames += 1) < 20) return requestAnimationFrame(count);
                lab.tabs.toy.pause();
                return done(lab.tabs.toy.steps() - before);
              };
              lab.tabs.toy.play();
              requestAnimationFrame(count);
            })"""
        )
    assert 18 <= taken["steady"] <= 21
    assert taken["fast"] > 2 * taken["steady"]


PHASES = ["data", "encoder", "noise", "decoder", "loss", "gradients", "update"]


def test_slow_motion_goes_through_a_step_and_trains_at_its_end(opened):
    opened.evaluate("lab.tabs.toy.pace(120)")
    opened.locator("input[value=slow]").check()
    seen = opened.evaluate(
        """() => new Promise((done) => {
          const seen = [], diagram = document.getElementById("diagram");
          const curve = () => Array.from(lab.tabs.toy.view().there.means.subarray(0, 4)).join();
          const look = () => {
            const phase = diagram.dataset.phase;
            if (phase && seen.at(-1)?.phase !== phase) {
              seen.push({ phase, curve: curve(), said: document.getElementById("phase").textContent,
                on: Array.from(diagram.querySelectorAll(".on"), (it) => it.dataset.part) });
            }
            if (seen.length < 8) return requestAnimationFrame(look);
            lab.tabs.toy.pause();
            return done(seen);
          };
          lab.tabs.toy.play();
          look();
        })"""
    )
    assert [it["phase"] for it in seen] == [*PHASES, "data"]
    assert [it["on"] for it in seen[:5]] == [[it] for it in PHASES[:5]]
    assert seen[6]["on"] == ["encoder", "decoder"]
    assert len({it["curve"] for it in seen[:6]}) == 1
    assert seen[6]["curve"] != seen[0]["curve"]
    loss = re.search(r"= (\S+) \+ (\S+) · (\S+) = (\S+) nats", seen[4]["said"])
    reconstruction, beta, kl, total = (
        float(it.replace("\N{MINUS SIGN}", "-")) for it in loss.groups()
    )
    assert abs(reconstruction + beta * kl - total) < 0.02


def test_slow_motion_shows_the_new_networks_only_with_the_last_phase(path, opened):
    """In every picture and number; the step is the 60th, whose values are noted."""
    go(opened, path, "#step=59&speed=slow&source=prior&rate=0.1")
    opened.evaluate("lab.tabs.toy.pace(150)")
    seen = opened.evaluate(
        """() => new Promise((done) => {
          const seen = {}, byId = (id) => document.getElementById(id);
          let frames = 0;
          const look = () => {
            const { phase } = byId("diagram").dataset;
            seen[phase || "rest"] = { // as it is painted in the end
              words: byId("plane").ariaLabel,
              numbers: document.querySelector(".numbers").innerText,
              axis: byId("latent").toDataURL(),
            };
            if (phase === "update" && (frames += 1) === 3) {
              lab.tabs.toy.pause();
              return done(seen);
            }
            return requestAnimationFrame(look);
          };
          look();
          lab.tabs.toy.play();
        })"""
    )
    assert list(seen) == ["rest", *PHASES]
    new = {
        phase: [name for name, value in shown.items() if value != seen["rest"][name]]
        for phase, shown in seen.items()
    }
    assert new["data"] == []
    assert new["update"] == ["words", "numbers", "axis"]
    for phase in PHASES[1:-1]:
        assert set(new[phase]) <= {"axis"}  # which has the draws of the step as well


def test_slow_motion_is_the_same_run_as_single_steps(opened):
    opened.evaluate("lab.tabs.toy.pace(1)")
    opened.locator("input[value=slow]").check()
    opened.locator("#play").click()
    assert until(opened, lambda: steps(opened) >= 2)
    opened.locator("#play").click()
    there, trained = steps(opened), weights(opened)
    opened.locator("#restart").click()
    for _ in range(there):
        opened.locator("#step").click()
    assert weights(opened) == trained


# ---- Settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "kept"), [("encoder", "decoder"), ("decoder", "encoder")])
def test_only_the_chosen_side_is_trained(opened, side, kept):
    control(opened, "train").locator(f"xpath=self::*[@value='{side}']").check()
    before = opened.evaluate("(text) => Object.fromEntries(JSON.parse(text))", weights(opened))
    one_step(opened)
    after = opened.evaluate("(text) => Object.fromEntries(JSON.parse(text))", weights(opened))
    assert after[kept] == before[kept]
    assert after[side] != before[side]


def test_without_noise_z_is_the_mean_of_q(opened):
    control(opened, "noise").uncheck()
    computed = one_step(opened)
    assert computed["z"] == computed["mu"]
    control(opened, "noise").check()
    assert one_step(opened)["z"] != computed["mu"]


def test_the_switch_of_the_kl_is_beta_at_zero_and_back(opened):
    switch = opened.locator("#toy-settings .kl-on")
    switch.uncheck()
    assert settings(opened)["beta"] == 0
    computed = one_step(opened)
    assert computed["loss"] == computed["reconstruction"]
    switch.check()
    assert settings(opened)["beta"] == 1
    set_range(opened, "beta", 2.5)
    computed = one_step(opened)
    assert computed["loss"] == pytest.approx(computed["reconstruction"] + 2.5 * computed["kl"])
    set_range(opened, "beta", 0)
    assert not switch.is_checked()


def test_batch_and_importance_samples_are_the_sizes_of_a_step(opened):
    set_range(opened, "batch", 17)
    set_range(opened, "samples", 5)
    computed = one_step(opened)
    assert computed["rows"] == 17
    assert len(computed["z"]) == 17 * 5


def test_the_learning_rate_is_the_size_of_adams_first_step(opened):
    moved = []
    for rate in (0.001, 0.01):
        opened.locator("#restart").click()
        opened.evaluate(
            "(rate) => { const it = document.querySelector('#toy-settings [data-state=rate]');"
            " it.value = Math.log(rate); it.dispatchEvent(new Event('input')); }",
            rate,
        )
        bias = "lab.tabs.toy.world().run.model.encoder.layers[1].bias[0]"
        before = opened.evaluate(bias)
        one_step(opened)
        moved.append(abs(opened.evaluate(bias) - before))
    assert moved == pytest.approx([0.001, 0.01], rel=1e-3)


def test_hidden_units_width_data_and_seed_begin_another_run(opened):
    first = weights(opened)
    for name, value in (("units", "8"), ("data", "spiral"), ("seed", "5"), ("sigma", "0.5")):
        one_step(opened)
        where = control(opened, name)
        if name == "seed":
            where.fill(value)
        else:
            where.select_option(value)
        if name != "sigma":
            assert steps(opened) == 0
    world = opened.evaluate(
        """() => { const { run } = lab.tabs.toy.world();
          return [run.model.decoder.layers[0].outputs, [...run.data]]; }"""
    )
    assert world[0] == 8
    assert world[1] == opened.evaluate("[...lab.modules.datasets.points('spiral', 5)]")
    one_step(opened)
    assert opened.evaluate("lab.tabs.toy.world().run.model.logSigma[0]") == pytest.approx(
        -0.6931, abs=1e-4
    )
    assert opened.locator("#sigma").inner_text() == "0.50"
    assert weights(opened) != first


def test_all_defaults_is_the_page_as_it_opens(opened):
    before = settings(opened)
    set_range(opened, "beta", 3)
    control(opened, "noise").uncheck()
    control(opened, "data").select_option("blobs")
    opened.locator("#defaults").click()
    assert settings(opened) == before
    assert control(opened, "data").input_value() == "moons"
    assert control(opened, "noise").is_checked()


def canvas(page, name):
    painted(page)
    return page.evaluate("(id) => document.getElementById(id).toDataURL()", name)


def test_samples_and_the_walk_are_seen_in_the_plane(path, opened):
    go(opened, path, "#step=300")
    pictures = [canvas(opened, "plane")]
    for source in ("prior", "aggregate"):
        control(opened, "source").locator(f"xpath=self::*[@value='{source}']").check()
        pictures.append(canvas(opened, "plane"))
    set_range(opened, "walk", 0.5)
    pictures.append(canvas(opened, "plane"))
    set_range(opened, "walk", 0.9)
    pictures.append(canvas(opened, "plane"))
    assert len(set(pictures)) == 5
    assert "with 200 samples" in opened.locator("#plane").get_attribute("aria-label")


def test_samples_come_from_the_prior_or_from_the_codes(path, opened):
    go(opened, path, "#beta=0&step=600")
    spread = opened.evaluate(
        """() => {
          const world = lab.tabs.toy.world(), { toy } = lab.modules;
          const near = (source) => {
            const drawn = toy.samples(world, source, 1), { data } = world.run;
            let sum = 0;
            for (let i = 0; i < drawn.length / 2; i++) {
              const [x, y] = [drawn[2 * i], drawn[2 * i + 1]];
              const number = toy.nearest(world.run, x, y);
              sum += Math.hypot(x - data[2 * number], y - data[2 * number + 1]);
            }
            return sum / (drawn.length / 2);
          };
          return { prior: near("prior"), aggregate: near("aggregate") };
        }"""
    )
    assert spread["aggregate"] < spread["prior"]


def picked(page):
    return page.evaluate("lab.tabs.toy.view().rows.map(({ number }) => number)")


def click_point(page, number):
    box = page.locator("#plane").bounding_box()
    x, y = page.evaluate("(n) => [...lab.modules.toy.pointOf(lab.tabs.toy.world().run, n)]", number)
    page.mouse.click(
        box["x"] + box["width"] * (x + 2.6) / 5.2, box["y"] + box["height"] * (2.6 - y) / 5.2
    )
    painted(page)


def test_a_click_picks_a_point_and_another_click_lets_it_go(opened):
    opened.locator("#plane").scroll_into_view_if_needed()
    before = picked(opened)
    click_point(opened, 50)
    assert picked(opened) == [*before, 50]
    assert settings(opened)["picks"] == "-".join(map(str, [*before, 50]))
    click_point(opened, 60)
    assert picked(opened) == [*before, 50, 60][-4:]
    click_point(opened, 50)
    assert 50 not in picked(opened)


def test_arrow_keys_walk_the_last_point_along_the_codes(opened):
    before = picked(opened)
    order = opened.evaluate("lab.modules.toy.byCode(lab.tabs.toy.world().run)")
    opened.locator("#plane").press("ArrowRight")
    free = [it for it in order if it == before[-1] or it not in before]
    assert picked(opened) == [*before[:-1], free[free.index(before[-1]) + 1]]
    opened.locator("#plane").press("ArrowLeft")
    assert picked(opened) == before


def test_numbers_and_words_follow_the_run(path, opened):
    first = [
        opened.locator(f"#{it}").get_attribute("aria-label") for it in ("plane", "latent", "curves")
    ]
    go(opened, path, "#step=100")
    known = last(opened)
    for name in ("evidence", "elbo", "approximation", "amortisation", "kl"):
        shown = opened.locator(f"#{name}").inner_text().replace("\N{MINUS SIGN}", "-")
        assert float(shown) == pytest.approx(known[name], abs=0.0051)
    then = [
        opened.locator(f"#{it}").get_attribute("aria-label") for it in ("plane", "latent", "curves")
    ]
    assert all(a != b for a, b in zip(first, then, strict=True))
    gap = known["approximation"] + known["amortisation"]
    assert known["evidence"] - known["elbo"] == pytest.approx(gap)


def test_each_picked_point_has_its_own_gaps_on_the_axis(opened):
    written = opened.evaluate(
        """() => new Promise((done) => {
          const all = [], { fillText } = CanvasRenderingContext2D.prototype;
          CanvasRenderingContext2D.prototype.fillText = function (words, ...at) {
            all.push(words);
            fillText.call(this, words, ...at);
          };
          lab.tabs.toy.refresh();
          requestAnimationFrame(() => requestAnimationFrame(() => done(all)));
        })"""
    )
    rows = opened.evaluate(
        "lab.tabs.toy.view().rows.map((row) => [row.approximation, row.amortisation])"
    )
    gaps = [f"gap {approximation:.2f} + {amortisation:.2f}" for approximation, amortisation in rows]
    assert [words for words in written if words.startswith("gap")] == gaps
    spoken = opened.locator("#latent").get_attribute("aria-label")
    assert re.findall(r"gap [\d.]+ \+ [\d.]+", spoken) == gaps


def test_the_picture_is_saved_as_it_is_seen(path, opened, tmp_path):
    go(opened, path, "#step=50")
    with opened.expect_download() as download:
        opened.locator("#save").click()
    assert download.value.suggested_filename == "vae-lab-step-50.png"
    download.value.save_as(tmp_path / "saved.png")
    image = Image.open(tmp_path / "saved.png").convert("RGB")
    assert image.width > 900
    assert len(image.getcolors(maxcolors=10**6)) > 50


# ---- Links ---------------------------------------------------------------------------------------

LINK = (
    "#tab=toy&seed=7&beta=0.3&noise=off&samples=3&train=decoder&data=rings&rate=0.002&batch=20"
    "&units=8&sigma=0.5&speed=fast&source=prior&picks=3-4&walk=0.25"
)


def test_a_link_restores_every_setting_and_the_address_keeps_it(path, opened):
    go(opened, path, LINK)
    restored = settings(opened)
    expected = {
        "seed": 7, "beta": 0.3, "noise": False, "samples": 3, "train": "decoder", "data": "rings",
        "rate": 0.002, "batch": 20, "units": "8", "sigma": "0.5", "speed": "fast",
        "source": "prior", "picks": "3-4", "walk": 0.25,
    }  # fmt: skip
    assert restored == restored | expected
    assert control(opened, "units").input_value() == "8"
    assert not control(opened, "noise").is_checked()
    written = LINK.removeprefix("#tab=toy&")
    assert until(opened, lambda: opened.url.partition("#")[2] == written)


def test_a_change_is_written_into_the_address(opened):
    set_range(opened, "beta", 2)
    control(opened, "data").select_option("blobs")
    assert until(opened, lambda: opened.url.partition("#")[2] == "beta=2&data=blobs")


def test_a_link_to_a_step_is_the_same_run_to_the_bit(path, opened, browser):
    trained = []
    opened.locator("input[value=fast]").check()
    for _ in range(3):
        opened.locator("#play").click()
        opened.wait_for_timeout(120)
        opened.locator("#play").click()
    opened.locator("#step").click()
    trained.append((steps(opened), weights(opened)))
    link = opened.evaluate("lab.address()")
    other = browser.new_page()
    go(other, path, "#" + link.partition("#")[2])
    trained.append((steps(other), weights(other)))
    other.close()
    assert trained[0] == trained[1]


def test_a_link_to_a_place_on_the_page_leaves_the_run_alone(opened):
    opened.locator("#step").click()
    opened.get_by_role("link", name="a story").click()
    opened.wait_for_timeout(100)
    assert steps(opened) == 1
    assert opened.locator("#share-status").inner_text() == ""


def test_a_story_goes_to_its_step_and_is_named_until_something_else_is_trained(opened):
    link, story = opened.locator("#presets #collapse"), opened.locator("#story")
    assert not story.is_visible()
    set_range(opened, "beta", 3)
    link.click()
    opened.wait_for_timeout(100)
    arrived(opened)
    assert steps(opened) == 1000
    assert settings(opened)["sigma"] == "1.5"
    assert settings(opened)["beta"] == 1
    marked = "Array.from(document.querySelectorAll('#presets [aria-current=true]'), (it) => it.id)"
    click_point(opened, 5)
    opened.get_by_label("from the prior").first.check()
    assert opened.evaluate(marked) == ["collapse"]
    assert story.inner_text().startswith("Posterior collapse. ")
    control(opened, "noise").uncheck()
    assert opened.evaluate(marked) == []
    assert not story.is_visible()


def test_a_change_on_the_other_tab_leaves_the_story_named(opened):
    opened.locator("#collapse").click()
    opened.locator("#tab-digits").click()
    set_range(opened, "beta", 3, of="digits")
    opened.locator("#tab-toy").click()
    assert opened.locator("#story").is_visible()


def test_a_running_story_says_how_far_it_goes(opened):
    opened.locator("#collapse").click()
    painted(opened)
    assert re.fullmatch(r"Step \d+ of 1,000", opened.locator("#status").inner_text())
    arrived(opened)
    assert opened.locator("#status").inner_text() == "Step 1,000"


@pytest.mark.parametrize(
    ("link", "there"), [("#lesson-title + ol > :first-child a", 0), ("#collapse", 1000)]
)
def test_a_link_to_the_settings_that_are_set_begins_again(opened, link, there):
    opened.locator(link).click()
    opened.wait_for_timeout(100)
    arrived(opened)
    begun = weights(opened)
    opened.locator("#step").click()
    assert steps(opened) == there + 1
    opened.locator(link).click()
    opened.wait_for_timeout(100)
    arrived(opened)
    assert steps(opened) == there
    assert weights(opened) == begun


def test_an_address_that_is_typed_over_is_restored_at_once(path, opened):
    go(opened, path, "#beta=9&step=30")
    assert "“beta”" in opened.locator("#share-status").inner_text()
    opened.evaluate("location.hash = 'beta=2&seed=3'")
    opened.wait_for_timeout(100)
    assert (settings(opened)["beta"], settings(opened)["seed"], steps(opened)) == (2, 3, 0)
    assert control(opened, "seed").input_value() == "3"
    assert opened.locator("#share-status").inner_text() == ""


def test_the_link_is_copied(path, opened):
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    go(opened, path, "#beta=2&step=20")
    opened.locator("#step").click()
    opened.locator("#share").click()
    opened.locator("#share-status").get_by_text("Link copied.").wait_for()
    copied = opened.evaluate("navigator.clipboard.readText()")
    assert copied == f"{path.as_uri()}#step=21&beta=2"


def test_where_nothing_can_be_copied_the_link_is_shown_and_selected(path, opened):
    go(opened, path, "#beta=2&step=20")
    opened.evaluate("() => void (navigator.clipboard.writeText = () => Promise.reject())")
    opened.locator("#share").click()
    field = opened.get_by_role("textbox", name="Link")
    assert field.input_value() == f"{path.as_uri()}#step=20&beta=2"
    assert opened.evaluate("getSelection().toString()") == field.input_value()


def test_a_link_says_what_it_cannot_hold_after_a_change(opened):
    opened.locator("#step").click()
    set_range(opened, "beta", 2)
    opened.locator("#share").click()
    status, said = opened.locator("#share-status"), "You changed settings during this run"
    assert until(opened, lambda: said in status.inner_text())


def test_a_change_on_one_tab_is_none_of_the_other(opened):
    opened.locator("#step").click()
    set_range(opened, "beta", 2)
    remarks = []
    for press in ("#tab-digits", "#restart", "#tab-toy"):
        opened.locator(press).click()
        opened.locator("#share").click()
        opened.wait_for_timeout(200)
        remarks.append("You changed settings" in opened.locator("#share-status").inner_text())
    assert remarks == [False, False, True]


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("#beta=99", "“beta” has to be a number from 0 to 6, got “99”."),
        ("#data=stars", "“data” has to be one of moons, rings"),
        ("#gamma=1", "This page has no setting “gamma”."),
        ("#data=drawn&points=AA", "“points” has to be points that were drawn"),
    ],
)
def test_what_a_link_cannot_mean_is_said_and_the_default_kept(path, opened, fragment, said):
    go(opened, path, fragment)
    words = opened.locator("#share-status").inner_text()
    assert words.startswith(said.split(" one of")[0])
    assert opened.evaluate("lab.settings.toy.beta") == 1


# ---- Drawing -------------------------------------------------------------------------------------


def drawn_points(page):
    return page.evaluate("lab.tabs.toy.world().run.count")


def test_points_are_drawn_with_the_mouse_and_trained_on(path, opened):
    control(opened, "data").select_option("drawn")
    painted(opened)
    assert "at least three points" in opened.locator("#status").inner_text()
    opened.locator("#play").click()
    opened.wait_for_timeout(100)
    assert steps(opened) == 0
    opened.locator("#play").click()
    opened.locator("#plane").scroll_into_view_if_needed()
    box = opened.locator("#plane").bounding_box()
    opened.mouse.move(box["x"] + 40, box["y"] + 60)
    opened.mouse.down()
    for i in range(1, 30):
        opened.mouse.move(box["x"] + 40 + 10 * i, box["y"] + 60 + 5 * i)
    opened.mouse.up()
    assert drawn_points(opened) > 10
    one_step(opened)
    data, link = opened.evaluate("[[...lab.tabs.toy.world().run.data], lab.address()]")
    go(opened, path, "#" + link.partition("#")[2])
    assert opened.evaluate("[...lab.tabs.toy.world().run.data]") == data
    opened.locator("#erase").click()
    assert drawn_points(opened) == 0
    painted(opened)
    assert "at least three points" in opened.locator("#status").inner_text()


def test_points_are_drawn_with_the_keyboard(opened):
    control(opened, "data").select_option("drawn")
    plane = opened.locator("#plane")
    for key in ("Space", "ArrowRight", "ArrowRight", "Space", "ArrowUp", "ArrowUp", "Space"):
        plane.press(key)
    assert opened.evaluate("[...lab.tabs.toy.world().run.data]") == pytest.approx(
        [0, 0, 0.2, 0, 0.2, 0.2], abs=0.002
    )
    assert "Cursor at 0.2, 0.2" in opened.locator("#drawn-at").inner_text()
    one_step(opened)
    assert steps(opened) == 1


def test_points_drawn_during_a_run_are_a_change_that_the_link_cannot_hold(opened):
    control(opened, "data").select_option("drawn")
    plane = opened.locator("#plane")
    remark = "You changed settings during this run"

    def shared():
        opened.locator("#share").click()
        opened.wait_for_timeout(200)
        return opened.locator("#share-status").inner_text()

    draw = ["Space", "ArrowRight"]
    for key in 4 * draw:
        plane.press(key)
    assert remark not in shared()
    one_step(opened)
    assert remark not in shared()
    for key in draw:
        plane.press(key)
    assert remark in shared()
    opened.locator("#restart").click()
    assert remark not in shared()


def test_points_added_to_a_linked_run_take_its_step_out_of_the_address(path, opened):
    text = opened.evaluate("lab.modules.datasets.toText([0, 0, 1, 1, 0, 1])")
    go(opened, path, f"#step=10&data=drawn&points={text}")
    opened.locator("#plane").press("ArrowRight")
    opened.locator("#plane").press("Space")
    opened.wait_for_timeout(400)
    assert re.fullmatch(rf"data=drawn&points={text}.{{4}}", opened.url.partition("#")[2])


def test_points_can_be_drawn_and_erased_in_the_middle_of_a_step(opened):
    control(opened, "data").select_option("drawn")
    opened.locator("input[value=slow]").check()
    opened.evaluate("lab.tabs.toy.pace(60)")
    plane = opened.locator("#plane")
    opened.locator("#play").click()
    for number in range(1, 9):
        plane.press("Space")
        plane.press("ArrowRight")
        opened.wait_for_timeout(100)
        assert drawn_points(opened) == number
        assert opened.locator("#plane").get_attribute("aria-label").startswith(f"{number} points")
    assert opened.locator("#diagram").get_attribute("data-phase")
    opened.locator("#erase").click()
    painted(opened)
    there = steps(opened)
    opened.wait_for_timeout(200)
    assert steps(opened) == there > 0
    assert "at least three points" in opened.locator("#status").inner_text()
    assert opened.locator("#diagram").get_attribute("data-phase") == ""


def test_at_most_four_hundred_points_can_be_drawn(path, opened):
    text = opened.evaluate(
        """() => lab.modules.datasets.toText(Array.from({ length: 796 },
          (_, i) => (i % 2 ? Math.floor(i / 40) : (i / 2) % 20) / 5 - 2))"""
    )
    go(opened, path, f"#data=drawn&points={text}")
    assert drawn_points(opened) == 398
    opened.locator("#plane").scroll_into_view_if_needed()
    box = opened.locator("#plane").bounding_box()
    for i in range(5):
        opened.mouse.click(box["x"] + 20 + 20 * i, box["y"] + 5)
    assert drawn_points(opened) == 400


def test_points_are_drawn_with_a_finger(path, browser):
    context = browser.new_context(has_touch=True, viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(path.as_uri() + "#data=drawn")
    page.locator("#plane").scroll_into_view_if_needed()
    box = page.locator("#plane").bounding_box()
    for x, y in ((80, 80), (150, 120), (220, 200)):
        page.touchscreen.tap(box["x"] + x, box["y"] + y)
    assert drawn_points(page) == 3
    assert page.locator("#plane").evaluate("(it) => getComputedStyle(it).touchAction") == "none"
    context.close()


# ---- Stories -------------------------------------------------------------------------------------


stories = pytest.mark.xdist_group("stories")
"""In one process, so that each story is told once."""


@pytest.fixture(scope="module")
def told(path, browser):
    """What is known at the end of each story, by its name."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    links = dict(page.locator("#presets a").evaluate_all("(all) => all.map((a) => [a.id, a.hash])"))
    known = {}
    for name, fragment in links.items():
        go(page, path, fragment)
        rows = watched(page)
        known[name] = {
            **last(page),
            "steps": steps(page),
            "link": fragment,
            "asked": int(re.search(r"step=(\d+)", fragment)[1]),
            "q": median(row["sigma"] for row in rows),
            "ratio": median(row["sigma"] / row["best"] for row in rows),
            "hills": max(row["hills"] for row in rows),
            "farthest": max(abs(row["mu"]) for row in rows),
            "curve": length_of_curve(page),
        }
    page.close()
    return known


@stories
def test_every_story_goes_to_its_step(told):
    assert len(told) == 7
    assert [it["steps"] for it in told.values()] == [it["asked"] for it in told.values()]


@stories
def test_the_pictures_in_the_notebooks_are_of_these_runs(told):
    """`make lab-pictures` takes them again."""
    assert {path.stem for path in PICTURES.iterdir()} == told.keys()
    for name in told:
        with Image.open(PICTURES / f"{name}.png") as picture:
            of_picture = json.loads(picture.text["settings"])
        assert of_picture["link"] == told[name]["link"]
        for reading in ("step", "evidence", "elbo", "approximation", "amortisation", "kl"):
            close = pytest.approx(of_picture[reading], rel=1e-6, abs=1e-9)
            assert told[name][reading] == close, (name, reading)


def test_the_pictures_keep_the_colours_of_their_key():
    """Few colours are left in a picture, and a thin line of the key has few pixels."""
    style = (PICTURES.parent / "shared" / "page.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--(\w+): light-dark\((#\w{6}),", style))
    names = ("data", "decoder", "posterior", "approximate", "evidence", "amortisation")
    for path in PICTURES.glob("*.png"):
        with Image.open(path) as picture:
            counted = picture.convert("RGB").getcolors(256)
        for name in names:
            wanted = bytes.fromhex(light[name].removeprefix("#"))
            near = [n for n, of in counted if max(map(abs, map(sub, of, wanted))) <= 4]
            assert sum(near) > 100, (path.name, name)


@stories
def test_every_story_is_told_in_a_notebook_with_its_picture(told):
    text = "".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS.glob("*.ipynb"))
    for name, story in told.items():
        assert f"(lab.html{story['link']})" in text, name
        assert f"interactive/pictures/{name}.png)" in text, name


def test_every_link_to_the_lab_is_understood(path, opened):
    index = PROJECT / "report" / "book" / "index.md"
    pages = [*NOTEBOOKS.glob("*.ipynb"), PROJECT / "README.md", index]
    text = "".join(each.read_text(encoding="utf-8") for each in pages)
    links = set(re.findall(r"""lab\.html(#[^)"\\]*)""", text))
    assert len(links) >= 9
    for link in links:
        refused = opened.evaluate("(link) => lab.refused(link)", link)
        assert refused == [], link


@stories
def test_without_the_kl_q_is_a_spike_and_log_p_of_x_falls(told):
    first, kept = told["first-attempt"], told["kl-on"]
    assert first["q"] < 0.05 < 0.1 < kept["q"]
    assert first["farthest"] > 3.5 > kept["farthest"]
    assert first["evidence"] < kept["evidence"] - 0.5


@stories
def test_with_the_kl_q_is_as_wide_as_the_posterior(told):
    assert 0.8 < told["kl-on"]["ratio"] < 1.25


@stories
def test_a_wide_likelihood_lets_the_posterior_collapse(told):
    story = told["collapse"]
    assert story["kl"] < 0.02
    assert story["evidence"] - story["elbo"] < 0.01
    assert story["curve"] < 0.25 * told["kl-on"]["curve"]


@stories
def test_two_hills_leave_an_approximation_gap(told):
    story = told["not-tight"]
    assert story["hills"] >= 2
    assert story["approximation"] > 0.05 > told["kl-on"]["approximation"]


@stories
def test_a_small_beta_makes_q_too_narrow(told):
    story = told["beta-small"]
    assert story["ratio"] < 0.7
    assert story["amortisation"] > 1
    assert story["farthest"] > told["kl-on"]["farthest"]


@stories
def test_a_large_beta_makes_the_curve_short(told):
    story = told["beta-large"]
    assert story["curve"] < 0.5 * told["kl-on"]["curve"]
    assert story["evidence"] < told["kl-on"]["evidence"]


@stories
def test_importance_samples_let_q_be_wide(told):
    story, kept = told["iwae"], told["kl-on"]
    assert story["ratio"] > 2
    assert story["evidence"] > kept["evidence"] + 0.3
    assert story["elbo"] < kept["elbo"] - 1


# ---- The lesson ----------------------------------------------------------------------------------


def train(page, settings, until):
    """Train the world of `window.world` to a step with other settings; its last means."""
    return page.evaluate(
        """([settings, until]) => {
          const { toy } = lab.modules;
          Object.assign(window.asked, settings);
          while (window.world.run.step < until) toy.step(window.world, window.asked);
          return window.world.history.at(-1);
        }""",
        [settings, until],
    )


def begin(page, settings):
    page.evaluate(
        """(settings) => {
          window.asked = { ...lab.settings.toy, ...settings };
          window.world = lab.modules.toy.newWorld(window.asked);
        }""",
        settings,
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_lesson_opens_a_gap_that_the_encoder_alone_closes(opened, seed):
    begin(opened, {"seed": seed})
    assert train(opened, {}, 2000)["amortisation"] < 0.1
    wide = train(opened, {"train": "decoder", "sigma": "0.2"}, 2030)
    assert wide["amortisation"] > 0.5
    closed = train(opened, {"train": "encoder"}, 2500)
    assert closed["amortisation"] < wide["amortisation"] / 2
    assert closed["elbo"] > wide["elbo"] + 0.3
    assert closed["evidence"] == pytest.approx(wide["evidence"], abs=1e-3)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_lesson_s_collapse_ends_when_the_likelihood_is_narrower(opened, seed):
    begin(opened, {"seed": seed, "sigma": "1.5"})
    assert train(opened, {}, 1000)["kl"] < 0.005
    assert train(opened, {"sigma": "1"}, 2000)["kl"] > 0.05


# ---- For everybody -------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", ["toy", "digits"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_no_serious_fault_of_accessibility_is_found(path, visit, tab, width, color_scheme):
    visited = visit(path.as_uri() + f"#tab={tab}", width=width, color_scheme=color_scheme)
    found = Axe().run(visited.page).response
    serious = [it for it in found["violations"] if it["impact"] in ("serious", "critical")]
    assert [(it["id"], [node["html"] for node in it["nodes"]]) for it in serious] == []
    assert len(found["passes"]) > 20
    assert visited.problems == []


@pytest.mark.parametrize("tab", ["toy", "digits"])
@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_nothing_is_wider_than_the_screen_or_too_small_to_read(path, visit, tab, width):
    page = visit(path.as_uri() + f"#tab={tab}", width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        """Array.from(document.querySelectorAll("body *"))
          .filter((it) => it.checkVisibility()
            && Array.from(it.childNodes).some((c) => c.nodeType === 3 && c.data.trim())
            && parseFloat(getComputedStyle(it).fontSize) < 14)
          .map((it) => it.outerHTML.slice(0, 80))"""
    )
    assert small == []


@pytest.mark.parametrize("tab", ["toy", "digits"])
def test_every_control_can_be_reached_and_seen_with_the_keyboard(path, visit, tab):
    page = visit(path.as_uri() + f"#tab={tab}").page
    wanted = page.evaluate(
        """() => Array.from(document.querySelectorAll(
            "a, button, select, input:not([type=radio]), :checked, canvas[tabindex]"))
          .filter((it) => it.checkVisibility() && it.tabIndex >= 0)
          .map((it) => (it.dataset.reach = Math.random().toString()))"""
    )
    reached = set()
    for _ in range(len(wanted) + 20):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => [document.activeElement.dataset.reach,
              getComputedStyle(document.activeElement).outlineStyle]"""
        )
        if name:
            assert outline != "none"
            reached.add(name)
    assert len(wanted) > 25
    assert reached >= set(wanted)


def test_the_arrow_keys_change_the_tab(opened):
    opened.locator("#tab-toy").press("ArrowRight")
    assert opened.locator("#digits").is_visible()
    assert not opened.locator("#toy").is_visible()
    assert opened.evaluate("document.activeElement.id") == "tab-digits"
    opened.locator("#tab-digits").press("ArrowLeft")
    assert opened.locator("#toy").is_visible()


def test_a_page_without_scripts_says_where_the_figures_are(path, browser):
    page = browser.new_page(java_script_enabled=False)
    page.goto(path.as_uri())
    note = page.locator("noscript .note")
    said, link = note.inner_text(), note.locator("a").get_attribute("href")
    page.close()
    assert "scripts are switched off" in said
    assert link == "notebooks/03_small_world.html"


def test_dark_pages_are_drawn_in_other_colours(path, visit):
    seen = {
        scheme: visit(path.as_uri(), color_scheme=scheme).page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " document.getElementById('plane').toDataURL()]"
        )
        for scheme in ("light", "dark")
    }
    assert seen["light"][0] != seen["dark"][0]
    assert seen["light"][1] != seen["dark"][1]


@pytest.mark.parametrize(
    ("system", "chosen"), [("light", "dark"), ("dark", "light"), ("dark", "auto")]
)
def test_the_theme_is_the_one_chosen_in_the_book(path, visit, system, chosen):
    page = visit(path.as_uri(), color_scheme=system).page
    page.add_init_script(f"localStorage.setItem('theme', '{chosen}')")
    page.reload()
    painted(page)
    wanted = system if chosen == "auto" else chosen
    background = {"light": "rgb(255, 255, 255)", "dark": "rgb(19, 20, 22)"}[wanted]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background
    curve = {"light": [0, 114, 178], "dark": [30, 153, 221]}[wanted]
    assert page.evaluate(
        """(colour) => {
          const it = document.getElementById("plane");
          const { data } = it.getContext("2d").getImageData(0, 0, it.width, it.height);
          return data.some((_, i) => i % 4 === 0 && data[i + 3] === 255
            && colour.every((part, c) => data[i + c] === part));
        }""",
        curve,
    )


def test_the_page_works_where_nothing_can_be_stored(path, opened):
    opened.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })"
    )
    go(opened, path, "#step=20")
    assert steps(opened) == 20


def test_nothing_moves_by_itself_and_nothing_glides_where_motion_is_unwanted(path, opened):
    opened.emulate_media(reduced_motion="reduce")
    go(opened, path)
    opened.wait_for_timeout(200)
    assert steps(opened) == 0
    assert opened.evaluate("document.getAnimations().length") == 0
    opened.locator("#presets a").first.click()
    assert opened.evaluate(
        "Math.abs(document.getElementById('bench').getBoundingClientRect().top) < 5"
    )


def test_a_frame_of_steady_training_is_short(path, opened):
    """Against a fixed loop of the same machine, so that a slow machine does not fail."""
    go(opened, path, "#step=300")
    unit, work = opened.evaluate(
        """() => new Promise((done) => {
          const clock = () => performance.now();
          const loop = () => {
            const began = clock();
            let sum = 0;
            for (let i = 1; i < 200_000; i++) sum += Math.exp(-1 / i);
            return sum ? clock() - began : 0;
          };
          const middle = (all) => all.sort((a, b) => a - b)[all.length >> 1];
          const unit = middle(Array.from({ length: 21 }, loop)), work = [];
          const real = window.requestAnimationFrame;
          window.requestAnimationFrame = (paint) => real((now) => {
            const began = clock();
            paint(now);
            work.push(clock() - began);
            if (work.length < 240) return;
            window.requestAnimationFrame = real;
            lab.tabs.toy.pause();
            done([unit, 2 * middle(work)]); // training and painting are two calls
          });
          lab.tabs.toy.play();
        })"""
    )
    print(f"{work:.1f} ms per frame; the loop takes {unit:.1f} ms")
    assert work < 15 * unit
