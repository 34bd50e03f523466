"""The page in headless Chromium, on the real API: what people see, with a mouse, a keyboard, on a phone.

ACCIDENTS_PICTURES=docs pytest tests/browser/test_page.py also writes the pictures of the README.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, Request, Route, expect, sync_playwright

from api import uploads
from api.app import create_app
from include.accidents.registry import promotion
from tests.api.world import SIGNING, World, serve, wait_for
from tests.browser.chromium import CHROMIUM, FLAGS, PATIENCE_MS
from tests.helpers import sample_scenes

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH (apt-get install chromium)")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    world = World(tmp_path_factory.mktemp("registry"))
    promotion.promote(world.client, world.add(seed=1), SIGNING.encode(), "first")
    world.add("Second", seed=2)
    return create_app(world.settings())


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with serve(app) as url:
        wait_for(app, "Forest", "Second", "BestModel")
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, language: str = "en-GB", **more: Any) -> Iterator[Page]:
    """Open the page; afterwards nothing may stand in the console, and no other host may have been asked."""
    context = browser.new_context(locale=language, **more)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    said: list[str] = []
    foreign: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((url, "blob:", "data:")) else foreign.append(r.url))
    page.goto(url)
    expect(page.locator(".effects li").first).to_be_visible()
    try:
        yield page
    finally:
        context.close()
    assert not said
    assert not foreign


def share(probability: float) -> str:
    """Write a probability as the page does: a small one is not 0 %."""
    if 0 < probability < 0.01:
        return "< 1%"
    return "> 99%" if 0.99 < probability < 1 else f"{probability:.0%}"


def asks(request: Request, *parts: str) -> bool:
    """Whether a prediction is asked for a scene that says this; others may have been under way."""
    return request.url.endswith("/predict") and all(part in (request.post_data or "") for part in parts)


def test_a_scene_is_filled_and_predicted(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        expect(page.locator("article.person")).to_have_count(2)
        page.get_by_role("button", name="New scene").click()
        expect(page.locator("article.person")).to_have_count(1)
        page.get_by_role("button", name="Add a vehicle").click()
        page.get_by_role("button", name="Add a person").click()
        page.locator("#people-0-catu").select_option(label="Pedestrian")
        page.locator("#people-1-an_nais").fill("1990")
        with page.expect_response(lambda r: asks(r.request, '"an_nais":1990', '"vma":50')):
            page.locator("#accident-vma").fill("50")
            page.keyboard.press("Tab")
        with page.expect_response("**/api/v1/predict") as answered:
            page.get_by_role("button", name="Predict").first.click()
        said = answered.value.request.post_data_json
        assert said["people"] == [{"catu": 3}, {"vehicle": "A", "catu": 1, "an_nais": 1990}]
        assert said["vehicles"] == [{"id": "A", "catv": 7}]
        told = answered.value.json()["scenes"][0]["people"]
        classes = ("unharmed", "light", "hospitalised", "killed")
        expect(page.locator(".bars .share")).to_have_text(
            [share(person["probabilities"][name]) for person in told for name in classes]
        )


def test_a_model_of_generated_accidents_is_told_as_such(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        expect(page.locator("#generated")).to_be_visible()
        expect(page.locator("#generated")).to_contain_text("GENERATED accidents")
        page.get_by_role("button", name="Français").click()
        expect(page.locator("#generated")).to_contain_text("accidents GÉNÉRÉS")


def test_a_model_of_real_accidents_is_not(browser: Browser, tmp_path: Path) -> None:
    world = World(tmp_path)
    promotion.promote(world.client, world.add(sample=False), SIGNING.encode(), "first")
    app = create_app(world.settings())
    with serve(app) as url:
        wait_for(app, "BestModel")
        with opened(browser, url) as page:
            expect(page.locator("#generated")).to_be_hidden()


def test_the_documentation_of_the_api_is_drawn(browser: Browser, url: str) -> None:
    said: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.goto(f"{url}/docs")
    expect(page.locator(".opblock")).not_to_have_count(0)
    page.locator(".opblock-summary", has_text="/api/v1/models").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".responses-table.live-responses-table")).to_contain_text("BestModel")
    page.close()
    assert not said


def test_an_error_of_the_api_is_told_to_be_in_english(browser: Browser, url: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a;b\n1;2\n")
    context = browser.new_context(locale="fr-FR")
    page = context.new_page()
    page.goto(url)
    page.get_by_role("tab", name="Fichier CSV").click()
    page.set_input_files("#files", tmp_path / "a.csv")
    page.locator("#upload").get_by_role("button", name="Prédire").click()
    expect(page.locator("#csv-error")).to_contain_text("Réponse de l’API, en anglais : ")
    expect(page.locator("#csv-error span[lang=en]")).to_contain_text("num_acc")
    context.close()


def test_the_decision_on_the_accident_comes_first(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        with page.expect_response("**/api/v1/predict") as answered:
            page.get_by_role("button", name="Example").click()
        answer = answered.value.json()["scenes"][0]
        decision = page.locator("#answer > section").first
        expect(decision.get_by_role("heading")).to_have_text("▲Alert" if answer["alert"] else "●No alert")
        expect(decision.locator(".chance strong")).to_have_text(share(answer["p_any_severe"]))
        expect(decision).to_contain_text(f"threshold of {answer['alert_threshold']:.0%}")
        expect(decision).to_contain_text(f"alerts find {answer['alert_recall']:.0%} of the accidents")
        expect(decision).to_contain_text(f"{answer['alert_precision']:.0%} of the alerts are right")
        expect(decision.locator(".facts dd").first).to_have_text(share(answer["p_any_killed"]))
        sentence = level_of(page, answer["level"])
        expect(decision.locator(".level q")).to_have_text(sentence.removesuffix("."))
        expect(page.locator("article.person .chip:has-text('▲')")).to_have_count(
            sum(person["severe"] for person in answer["people"])
        )


def level_of(page: Page, name: str) -> str:
    levels = page.request.get(f"{page.url}api/v1/features").json()["levels"]
    return next(str(level["label"]["en"]) for level in levels if level["name"] == name)


@contextmanager
def altered(page: Page, **more: Any) -> Iterator[None]:
    """Let the API's answer to a scene, and the explanation of a person, say something else in some places."""

    def answer(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        route.fulfill(
            response=response,
            json={**body, "scenes": [body["scenes"][0] | more]} if "scenes" in body else body | more,
        )

    page.route(re.compile(r"/api/v1/(predict|explain)(\?|$)"), answer)
    yield
    page.unroute_all(behavior="wait")


@pytest.mark.parametrize("alert", [True, False])
def test_an_alert_is_told_in_words_and_not_by_a_colour_alone(browser: Browser, url: str, alert: bool) -> None:
    with opened(browser, url, "fr-FR") as page, altered(page, alert=alert, alert_threshold=0.34, p_any_severe=0.42):
        page.get_by_role("button", name="Exemple").click()
        words = "▲Alerte seuil de 34 % atteint" if alert else "●Pas d’alerte sous le seuil de 34 %"
        expect(page.locator(".decision header")).to_have_text(re.compile(words.replace(" ", r"\s*")))
        expect(page.locator("#summary")).to_contain_text("Alerte" if alert else "Pas d’alerte")


def test_what_would_sharpen_the_answer_leads_to_its_field(browser: Browser, url: str) -> None:
    wanted = ["accident.com", "accident.lat", "people.trajet", "vehicles.obs"]
    with opened(browser, url) as page, altered(page, sharpen=wanted):
        page.locator("#vehicles-0-obs").evaluate("each => { each.value = 2; each.dispatchEvent(new Event('change')) }")
        invitation = page.get_by_role("group", name="To make this more certain, add:")
        expect(invitation.get_by_role("button")).to_have_text(
            [
                "+ Commune",
                "+ Position (latitude and longitude)",
                "+ Person 1 · Reason for the journey",
                "+ Vehicle B · Fixed obstacle hit",
            ]
        )
        for button, control in (
            ("Commune", "#accident-com"),
            ("Position", "#accident-lat"),
            ("Reason", "#people-0-trajet"),
            ("obstacle", "#vehicles-1-obs"),
        ):
            invitation.get_by_role("button", name=button).click()
            expect(page.locator(control)).to_be_focused()
            expect(page.locator(control)).to_be_in_viewport()
        expect(page.locator("#error")).to_be_hidden()


def test_the_models_own_wishes_lead_to_fields(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        for button in page.locator(".sharpen button").all():
            button.click()
            asked = page.evaluate("document.activeElement.labels[0].firstChild.textContent")
            assert asked in button.inner_text().replace("Position (latitude and longitude)", "Latitude")


def test_a_commune_is_found_by_its_beginning_and_sent(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        commune = page.get_by_role("combobox", name="Commune")
        commune.press_sequentially("lill")
        expect(page.get_by_role("listbox").get_by_role("option").first).to_have_text(re.compile(r"Lille\s+59 Nord"))
        expect(commune).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("ArrowDown")
        expect(commune).to_have_attribute("aria-activedescendant", "accident-com-list-0")
        with page.expect_request(lambda r: asks(r, '"com":"59350"', '"dep":"59"')):
            page.keyboard.press("Enter")
        expect(commune).to_have_value("Lille (59)")
        expect(page.locator(".map .spot")).to_have_attribute("visibility", "visible")
        expect(page.locator(".assumed")).to_contain_text("where accidents in the commune usually happen")
        with page.expect_request(lambda r: asks(r, '"dep":"33"')) as asked:
            page.locator("path[data-department='33']").click()
        assert "com" not in asked.value.post_data_json["accident"]
        expect(commune).to_have_value("")


def test_a_commune_sets_its_departement_and_is_cleared(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        commune = page.get_by_role("combobox", name="Commune")
        commune.press_sequentially("zzz")
        expect(page.locator("#accident-com-hint")).to_have_text("No commune of 59 Nord begins so.")
        page.keyboard.press("Escape")
        expect(commune).to_have_value("")
        page.locator("#accident-dep").select_option("")
        commune.press_sequentially("saint-denis")
        page.get_by_role("listbox").get_by_role("option", name="974 La Réunion").first.click()
        expect(page.locator("#accident-dep")).to_have_value("974")
        expect(page.locator(".assumed")).to_be_visible()  # the answer for the commune
        expect(page.locator(".map .spot")).to_have_attribute("visibility", "hidden")
        with page.expect_request("**/api/v1/predict") as asked:
            commune.fill("")
        assert "com" not in asked.value.post_data_json["accident"]
        assert asked.value.post_data_json["accident"]["dep"] == "974"


def test_a_commune_that_is_typed_out_needs_no_choice(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        commune = page.get_by_role("combobox", name="Commune")
        commune.press_sequentially("valenciennes")
        page.keyboard.press("Tab")
        expect(commune).to_have_value("Valenciennes (59)")
        commune.press_sequentially("val")
        page.keyboard.press("Tab")  # of several none is chosen
        expect(page.locator("#accident-com-hint")).to_have_text("Choose a commune from the list.")
        expect(commune).to_have_value("Valenciennes (59)")


def test_one_coordinate_is_no_position(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.locator("#accident summary").click()
        with page.expect_request("**/api/v1/predict") as asked:
            page.locator("#accident-lat").fill("50.6")
        assert "lat" not in asked.value.post_data_json["accident"]
        with page.expect_request(lambda r: asks(r, '"lat":50.6', '"long":3.1')):
            page.locator("#accident-long").fill("3.1")


def test_without_people_one_driver_a_vehicle_is_assumed(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.get_by_role("button", name="Remove: Person 2").click()
        with page.expect_request(lambda r: asks(r, '"people":[]')):
            page.get_by_role("button", name="Remove: Person 1").click()
        expect(page.locator("article.person h3")).to_have_text(["Driver · vehicle A", "Driver · vehicle B"])
        expect(page.locator("article.person").filter(has_text="assumed")).to_have_count(2)
        expect(page.locator(".assumed")).to_contain_text("One driver in each vehicle")
        page.get_by_role("button", name="Why?").click()
        expect(page.locator(".effects h4")).to_be_focused()
        expect(page.locator(".effects")).not_to_contain_text("Category of person")  # nobody gave it
        page.get_by_role("button", name="The people").click()
        expect(page.get_by_role("button", name="Add a person")).to_be_focused()


def test_nothing_is_asked_of_an_empty_scene(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        for name in ("Person 2", "Person 1", "Vehicle B"):
            page.get_by_role("button", name=f"Remove: {name}").click()
        expect(page.locator("article.person")).to_have_count(1)
        page.get_by_role("button", name="Remove: Vehicle A").click()
        expect(page.locator("#answer")).to_contain_text("Add a vehicle or a person: the forecast will appear here.")
        expect(page.locator("#error")).to_be_hidden()
        page.locator("#answer").get_by_role("button", name="Add a vehicle").click()
        expect(page.locator("#vehicles-0-catv")).to_be_focused()
        expect(page.locator(".decision")).to_be_visible()


def test_a_flat_record_is_told_in_one_message(browser: Browser, url: str) -> None:
    with opened_with_errors(browser, url) as page:
        page.route(
            "**/api/v1/predict", lambda route: route.continue_(post_data='{"com": "59350", "catv": 7, "sexe": 1}')
        )
        page.get_by_role("button", name="Example").click()
        expect(page.locator("#error li")).to_have_count(1)
        expect(page.locator("#error li")).to_contain_text("Scene this is a flat record")
        expect(page.locator("#error li")).to_contain_text('"com":"59350"')
        expect(page.locator("#answer")).to_have_class("stale")


def test_the_place_is_chosen_on_the_map_overseas_too(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.locator("path[data-department='33']").click()
        expect(page.locator("#accident-dep")).to_have_value("33")
        with page.expect_request(lambda r: r.url.endswith("/predict") and '"dep":"974"' in (r.post_data or "")):
            page.get_by_role("button", name="La Réunion").click()
        assert page.locator("path.chosen").count() == 0


def test_what_moved_the_answer_is_told_for_each_person(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        with page.expect_request(re.compile(r"/explain\?person=\d")):
            page.get_by_role("button", name="Why?").click()
        expect(page.locator(".effects h4")).to_be_focused()
        assert re.search(r"[+−]\d", page.locator(".effects .share").first.inner_text())


def test_models_are_compared_and_ranked(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.get_by_text("Compare the models").click()
        expect(page.locator("#compare tbody th")).to_have_text(
            [re.compile(n) for n in ("Forest in production", "Second")]
        )
        page.get_by_role("tab", name="Models").click()
        expect(page.locator(".board tbody tr.best")).to_contain_text("in production")


def test_a_defect_is_told_at_its_field(browser: Browser, url: str) -> None:
    with opened_with_errors(browser, url) as page:
        page.locator("#accident-vma").fill("9")
        page.locator("#accident-vma").press_sequentially("00")  # no defect is told before the field is left
        expect(page.locator("#error")).to_be_hidden()
        page.keyboard.press("Tab")
        expect(page.get_by_role("alert").first).to_contain_text("Speed limit")
        expect(page.locator("#accident-vma")).to_have_attribute("aria-invalid", "true")
        page.locator("#accident-vma").fill("90")
        expect(page.locator("#error")).to_be_hidden()


@contextmanager
def opened_with_errors(browser: Browser, url: str) -> Iterator[Page]:
    """Open the page where the API will refuse something, which Chromium notes in its console."""
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(url)
    expect(page.locator(".effects li").first).to_be_visible()
    yield page
    context.close()


def test_a_file_is_uploaded_and_its_answer_downloaded(browser: Browser, url: str, tmp_path: Path) -> None:
    merged = uploads.merged(sample_scenes(2022))
    (tmp_path / "df_accidents.csv").write_bytes(merged)
    with opened(browser, url) as page:
        page.get_by_role("tab", name="CSV file").click()
        page.set_input_files("#files", tmp_path / "df_accidents.csv")
        page.locator("#upload").get_by_role("button", name="Predict").click()
        expect(page.locator("#csv-status")).to_have_text(re.compile(r"^[\d,]+ people predicted\.$"))
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the CSV").click()
        lines = download.value.path().read_text().splitlines()
        assert len(lines) == len(merged.splitlines())
        assert lines[0].endswith("predicted_class;severe;p_any_severe;p_any_killed;alert;level")
        expect(page.locator(".preview tbody tr").first).to_contain_text(
            re.compile("(first call|dispatch|on scene|record)$")
        )
        alerts = {line.split(";")[0] for line in lines[1:] if line.split(";")[-2] == "true"}
        accidents = {line.split(";")[0] for line in lines[1:]}
        expect(page.locator(".alerts")).to_contain_text(f"{len(alerts)} of {len(accidents)}")


def test_a_file_with_severities_is_scored(browser: Browser, url: str, tmp_path: Path) -> None:
    (tmp_path / "df_accidents.csv").write_bytes(uploads.merged(sample_scenes(2022)))
    with opened(browser, url) as page:
        upload(page, tmp_path / "df_accidents.csv")
        expect(page.locator(".scores")).to_contain_text(re.compile(r"Weighted F1\s*0\.\d{3}"))
        bins = page.locator(".plot circle").count()
        assert bins > 1
        spoken = page.get_by_role("img", name="Calibration of the severe risk").locator("desc").text_content() or ""
        assert len(re.findall(r"Predicted [\d.]+%, true [\d.]+%", spoken)) == bins


def test_a_file_without_severities_is_predicted_all_the_same(browser: Browser, url: str, tmp_path: Path) -> None:
    rows = [line.split(";") for line in uploads.merged(sample_scenes(2022)).decode().splitlines()]
    grav = rows[0].index("grav")
    (tmp_path / "new.csv").write_text("\n".join(";".join(row[:grav] + row[grav + 1 :]) for row in rows))
    with opened(browser, url) as page:
        upload(page, tmp_path / "new.csv")
        expect(page.locator("#csv-answer")).to_contain_text("The file gives no severities")
        expect(page.locator(".scores")).to_have_count(0)


def upload(page: Page, file: Path) -> None:
    page.get_by_role("tab", name="CSV file").click()
    page.set_input_files("#files", file)
    page.locator("#upload").get_by_role("button", name="Predict").click()


def test_a_new_scene_is_of_this_moment(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        with page.expect_request("**/api/v1/predict") as asked:
            page.get_by_role("button", name="New scene").click()
        accident = asked.value.post_data_json["accident"]
        assert page.evaluate("new Date().getFullYear()") == accident["an"]
        assert re.fullmatch(r"\d\d:\d\d", accident["hrmn"])


def test_the_other_vehicle_is_named_where_there_is_one(browser: Browser, url: str) -> None:
    effect = {"field": "vehicles[others].catv", "name": "catv", "severe_change": 0.1}
    with opened(browser, url) as page, altered(page, fields=[effect]):
        page.get_by_role("button", name="Example").click()
        expect(page.locator(".effects .name")).to_have_text([re.compile("^Vehicle [AB] · Category of the vehicle")])
        page.get_by_role("button", name="Add a vehicle").click()
        expect(page.locator(".effects .name")).to_have_text([re.compile("^Other vehicles · Category of the vehicle")])


def test_on_a_phone_the_decision_stays_in_sight_and_leads_to_the_answer(browser: Browser, url: str) -> None:
    with opened(browser, url, viewport={"width": 390, "height": 800}) as page:
        gist = page.locator("#summary")
        expect(gist).to_be_in_viewport()
        expect(gist).to_have_text(re.compile(r"^(Alert|No alert) · severe risk .*%$"))
        page.get_by_role("link", name="Details").click()
        expect(page.locator("#answer h2")).to_be_in_viewport()


def test_the_browsers_language_comes_first_and_the_chosen_one_is_remembered(browser: Browser, url: str) -> None:
    with opened(browser, url, "fr-FR") as page:
        expect(page.get_by_role("tab", name="Modèles")).to_be_visible()
        expect(page.locator("html")).to_have_attribute("lang", "fr")
        assert page.locator("#vehicles-1-catv option:checked").inner_text() == "Motocyclette > 125 cm³"
        page.get_by_role("button", name="English").click()
        expect(page.get_by_role("tab", name="Models")).to_be_visible()
        assert page.locator("#vehicles-1-catv option:checked").inner_text() == "Motorcycle > 125 cm³"
        page.reload()
        expect(page.get_by_role("tab", name="Models")).to_be_visible()


def test_the_page_is_used_by_keyboard_alone(browser: Browser, url: str) -> None:
    with opened(browser, url) as page:
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        for _ in range(3):
            page.keyboard.press("Tab")
        expect(page.locator("#tab-scene")).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#panel-models")).to_be_visible()
        page.keyboard.press("End")
        expect(page.locator("#panel-csv")).to_be_visible()
        page.keyboard.press("Home")
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "accident-dep":
                break
        page.keyboard.type("75")
        with page.expect_request("**/api/v1/predict") as asked:
            page.keyboard.press("Tab")
        assert asked.value.post_data_json["accident"]["dep"] == "75"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_hinders_people(browser: Browser, url: str, scheme: Any, width: int) -> None:
    with opened(browser, url, color_scheme=scheme, viewport={"width": width, "height": 800}) as page:
        for tab in ("Scene", "Models", "CSV file"):
            page.get_by_role("tab", name=tab).click()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{tab} is wider than the screen"
            found = Axe().run(page).response["violations"]
            grave = [
                f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")
            ]
            assert not grave


@pytest.mark.parametrize(
    ("name", "language", "width"),
    [("page-fr", "fr-FR", 1280), ("page-en", "en-GB", 1280), ("page-phone", "fr-FR", 390)],
)
def test_pictures_can_be_taken(
    browser: Browser, url: str, name: str, language: str, width: int, tmp_path: Path
) -> None:
    # ACCIDENTS_PAGE_URL: a running API with models of real data makes better pictures.
    address = os.environ.get("ACCIDENTS_PAGE_URL", url)
    with opened(browser, address, language, viewport={"width": width, "height": 1000}) as page:
        if name == "page-phone":
            page.locator(".decision").scroll_into_view_if_needed()
        page.wait_for_timeout(400)
        file = Path(os.environ.get("ACCIDENTS_PICTURES", tmp_path)) / f"{name}.png"
        page.screenshot(path=file)
        assert file.stat().st_size > 10_000
