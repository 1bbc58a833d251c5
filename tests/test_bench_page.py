"""The report in a real browser: it is drawn, works offline, by mouse, touch and keyboard, and passes axe.

Needs chromium (Debian: apt-get install chromium) and the packages playwright and axe-core-python (extra dev).
"""

from __future__ import annotations

import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from made import backlit

pytest.importorskip("matplotlib", reason="needs the extra bench")
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

from cliplit.benchmarks.plots import bars, curves
from cliplit.benchmarks.quality import MEASURES
from cliplit.benchmarks.scoring import Sample
from cliplit.benchmarks.tables import Table, picture_table, score_table
from cliplit.benchmarks.webpage import Headline, Section, write_page

CHROMIUM = os.environ.get("CLIPLIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

BEFORE, LITE, OTHER, LIGHT = 40, 120, 200, 90  # gray levels that tell the pictures apart


def made_page(path):
    """Two pictures, two methods, tables with every measure and two plots; a file name that is HTML."""

    def level(value):
        return np.full((180, 320, 3), value, np.uint8)

    after, light = {"lite": level(LITE), "other": level(OTHER)}, np.full((180, 320), LIGHT / 255, np.float32)
    samples = [
        Sample(
            "first",
            level(BEFORE),
            after,
            dict.fromkeys(after, light),
            {"lite": {"psnr": 30.1, "ssim": 0.9}, "other": {"psnr": 20.2}},
            {"input": "pictures/01 first/input.png", "lite": "pictures/01 first/lite.png"},
        ),
        Sample("<b>second</b> & more", backlit(), {"lite": backlit(seed=1)}, {"lite": light}),
    ]
    table = Table("Scores", ("method", "PSNR"), (("lite", "30.1"), ("other", "20.2")), frozenset({(0, 1)}), "A note.")
    plots = [bars("Bars", "dB", {"lite": 30.1, "other": 20.2}), curves("Lines", "x", "y", {"a": [(1, 1), (2, 4)]})]
    every = score_table("Means", {name: dict.fromkeys(MEASURES, 12.3456) for name in ("lite fast", "exposure fusion")})
    each = picture_table("psnr", {"lite": {"first": {"psnr": 30.1}}, "other": {"first": {"psnr": 20.2}}})
    assert each is not None
    first = Headline("+9.90 dB", "over the best classical method, other: lite has 30.10 dB.")
    section = Section("Quality", ["Text."], samples, plots, [table, every, each], "lite", first)
    write_page(path, "A report", "made by a test", [section])
    return path


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return made_page(tmp_path_factory.mktemp("page") / "index.html")


@pytest.fixture
def page(browser, page_file):
    """The page with the network switched off; a request or an error fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 900}, offline=True, has_touch=True)
    page = context.new_page()
    trouble = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else trouble.append(r.url))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert trouble == []


def shot(page, number=0):
    """The stage of a viewer as it is on the screen, (H, W) gray."""
    data = page.locator(".stage").nth(number).screenshot()
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)


def levels(picture, row=0.25):
    """Gray at a quarter and at three quarters of the width."""
    line = picture[int(picture.shape[0] * row)]
    return line[len(line) // 4], line[3 * len(line) // 4]


def test_left_of_the_line_is_before_and_right_of_it_after(page):
    assert levels(shot(page)) == pytest.approx((BEFORE, LITE), abs=3)


def test_the_whole_page_is_drawn(page, tmp_path):
    """A screenshot of all of it: every picture and plot has pixels, and they are not blank."""
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    if folder := os.environ.get("CLIPLIT_ARTEFACTS"):
        shutil.copy(tmp_path / "page.png", folder)
    picture = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    assert picture.shape[0] > 900 and picture.std() > 20
    plot = Image.open(io.BytesIO(page.locator(".plot").first.screenshot())).convert("RGB")
    assert len(plot.getcolors(1 << 20)) > 10


def test_keys_move_the_line(page):
    handle = page.get_by_role("slider").first
    handle.focus()
    page.keyboard.press("Home")
    assert levels(shot(page)) == pytest.approx((LITE, LITE), abs=3)
    assert handle.get_attribute("aria-valuetext") == "0 % before"
    page.keyboard.press("End")
    assert levels(shot(page)) == pytest.approx((BEFORE, BEFORE), abs=3)
    for _ in range(15):
        page.keyboard.press("ArrowLeft")
    assert handle.input_value() == "85"
    assert levels(shot(page)) == pytest.approx((BEFORE, BEFORE), abs=3)


def test_the_focus_is_seen(page):
    page.get_by_role("slider").first.focus()
    outline = page.locator(".stage").first.evaluate("e => getComputedStyle(e).outlineStyle")
    assert outline == "solid"


def test_dragging_moves_the_line(page):
    box = page.locator(".stage").first.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, middle, steps=4)
    page.mouse.up()
    assert page.get_by_role("slider").first.input_value() == "90"
    page.mouse.move(box["x"] + 5, middle)  # no button, no drag
    assert page.get_by_role("slider").first.input_value() == "90"


def test_a_finger_moves_the_line(page):
    box = page.locator(".stage").first.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
    assert page.get_by_role("slider").first.input_value() == "20"


def test_methods_and_light_maps_are_chosen(page):
    page.get_by_label("Right").first.select_option("other")
    assert levels(shot(page))[1] == pytest.approx(OTHER, abs=3)
    page.get_by_label("light map").first.check()
    assert levels(shot(page))[1] == pytest.approx(LIGHT, abs=3)
    assert page.locator(".right").first.inner_text() == "light map"
    assert levels(shot(page, 1))[1] != pytest.approx(LIGHT, abs=3)  # the other viewer stays as it was


def test_two_methods_lie_side_by_side_with_their_scores(page):
    page.get_by_label("Left").first.select_option("lite")
    page.get_by_label("Right").first.select_option("other")
    assert levels(shot(page)) == pytest.approx((LITE, OTHER), abs=3)
    assert page.locator(".left").first.inner_text() == "lite"
    assert page.get_by_role("slider").first.get_attribute("aria-valuetext") == "50 % lite"
    line = page.locator("[data-scores-line]").first.inner_text()
    assert line == "lite: PSNR 30.10 dB, SSIM 0.9000 · other: PSNR 20.20 dB"
    page.get_by_label("Left").first.select_option("")
    assert levels(shot(page))[0] == pytest.approx(BEFORE, abs=3)


def test_files_at_full_size_are_linked_where_there_are_some(page):
    links = page.locator("figure").first.locator("a:visible")
    assert [link.get_attribute("href") for link in links.all()] == [
        "pictures/01%20first/input.png",
        "pictures/01%20first/lite.png",
    ]
    assert page.locator("figure").nth(1).locator("a:visible").count() == 0


def test_the_result_comes_first(page):
    assert page.locator(".headline strong").inner_text() == "+9.90 dB"
    box, picture = page.locator(".headline").bounding_box(), page.locator(".stage").first.bounding_box()
    assert box["y"] < picture["y"]


def test_no_column_is_cut_off_on_a_small_desktop(page):
    """With every measure there is, at 1280 pixels."""
    page.set_viewport_size({"width": 1280, "height": 800})
    page.locator("summary").click()
    assert page.locator(".scroll").count() == 3
    assert page.evaluate("[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)") == [
        0,
        0,
        0,
    ]


def test_the_theme_is_the_systems_until_another_is_chosen(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ground) != dark
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(ground) == dark


def test_names_are_text_and_not_markup(page):
    assert page.locator(".name").nth(1).inner_text() == "<b>second</b> & more"
    assert page.locator(".name b").count() == 0


def test_axe_finds_nothing(page):
    """WCAG 2.2 A and AA and best practices, by axe-core."""
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="needs the package axe-core-python")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        check(axe.Axe().run(page)["violations"])


def check(violations):
    assert [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in violations] == []


def test_it_fits_a_phone(page):
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_file_names_no_other(page_file):
    text = page_file.read_text(encoding="utf-8")
    assert "http:" not in text and "https:" not in text and "//cdn" not in text
