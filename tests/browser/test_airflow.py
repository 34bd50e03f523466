"""Airflow as its users drive it: the form, the grid, an instance's log, the way to MLflow; in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from include.accidents.sample import write_sample
from tests.helpers import BROKEN, DAG, TREE

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip
# A folder, when pictures for the documentation are wanted.
PICTURES = os.environ.get("ACCIDENTS_PICTURES")
RUN_MS = 300_000

expect.set_options(timeout=30_000)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH")


@pytest.fixture(scope="module")
def page(stack: dict[str, str]) -> Iterator[Page]:
    """A page that is logged in to Airflow."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        login = {
            "username": stack["MLFLOW_TRACKING_USERNAME"],
            "password": stack["MLFLOW_TRACKING_PASSWORD"],
            "origin": stack["MLFLOW_TRACKING_URI"],
        }
        opened = browser.new_page(viewport={"width": 1400, "height": 900}, http_credentials=login)
        opened.set_default_timeout(30_000)
        opened.goto(stack["AIRFLOW_URL"])
        opened.fill("input[name=username]", stack["AIRFLOW_USER"])
        opened.fill("input[name=password]", stack["AIRFLOW_PASSWORD"])
        opened.keyboard.press("Enter")
        opened.wait_for_url(lambda url: "login" not in url)
        yield opened
        browser.close()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, years=(2022,), accidents_per_year=1500)
    return folder


@pytest.fixture(scope="module")
def run(page: Page, stack: dict[str, str], sample: Path) -> str:
    """The address of a run of two models, one of which is broken, triggered by the form and watched to its end."""
    models: dict[str, Any] = {"Oak": TREE, "Elm": TREE, "Broken": BROKEN}
    said = {"defaults": {"evaluation_folds": 2, "search_folds": 2}, "models": models}
    Path(stack["ACCIDENTS_MODELS_FILE"]).write_text(json.dumps(said))
    page.goto(f"{stack['AIRFLOW_URL']}/dags/{DAG}")
    form = page.locator("[role=dialog][aria-modal=true]")
    for _ in range(20):  # the form suggests what the catalogue held when Airflow last read the DAG's file
        page.get_by_role("button", name="Trigger").first.click()
        form.get_by_role("combobox").first.click()
        page.wait_for_timeout(1000)
        if page.get_by_role("option", name="Oak", exact=True).count():
            break
        page.wait_for_timeout(3000)
        page.reload()
    page.get_by_role("option", name="Oak", exact=True).click()
    form.get_by_role("combobox").first.click()
    page.get_by_role("option", name="Broken", exact=True).click()
    picture(page, "airflow-form")
    form.locator("#element_raw_dir").fill(str(sample))
    form.get_by_role("button", name="Trigger", exact=True).click()
    page.wait_for_url(re.compile(r"/runs/manual"))
    address = page.url.split("?")[0]
    page.goto(f"{address}/details")
    expect(page.get_by_text(re.compile("^(Success|Failed)$")).first).to_be_visible(timeout=RUN_MS)
    return address


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.wait_for_timeout(1500)
        page.screenshot(path=f"{PICTURES}/{name}.png")


def test_the_grid_shows_exactly_the_chosen_models_and_the_broken_one_alone_is_red(page: Page, run: str) -> None:
    page.goto(f"{run}/tasks/search_params/mapped")
    rows = page.locator("table tbody tr")
    expect(rows).to_have_count(2)
    told = {row.inner_text().split()[0]: row.inner_text() for row in rows.all()}
    assert set(told) == {"Oak", "Broken"}
    assert "Success" in told["Oak"]
    assert "Failed" in told["Broken"]
    picture(page, "airflow-mapped")


def test_the_broken_models_log_and_the_runs_note_say_why(page: Page, run: str) -> None:
    page.goto(f"{run}/tasks/search_params/mapped/1")
    expect(page.get_by_text("Input X contains NaN").first).to_be_visible()
    picture(page, "airflow-reason")
    page.goto(run)
    expect(page.get_by_text("Broken failed: search_params").first).to_be_visible()


def test_an_instances_log_ends_with_its_summary_and_leads_to_the_picture_in_mlflow(
    page: Page, run: str, stack: dict[str, str]
) -> None:
    page.goto(f"{run}/tasks/log_model/mapped/0")
    expect(page.get_by_text("test_f1_weighted").first).to_be_visible()
    picture(page, "airflow-log")
    page.goto(f"{run}/tasks/log_model/mapped/0/details")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="MLflow").click()
    mlflow = opened.value
    expect(mlflow.get_by_text("Oak").first).to_be_visible()
    mlflow.get_by_text("Artifacts", exact=True).first.click()
    mlflow.get_by_text("confusion_matrix.png").first.click()
    image = mlflow.locator("img[src^='blob:'], img[src*='confusion_matrix'], canvas").first
    expect(image).to_be_visible()
    picture(mlflow, "mlflow-artifact")
    mlflow.close()


def test_a_wrong_value_cannot_leave_the_form(page: Page, stack: dict[str, str]) -> None:
    page.goto(f"{stack['AIRFLOW_URL']}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    folds = page.locator("[role=dialog][aria-modal=true]").get_by_role("spinbutton").first
    folds.fill("99")
    folds.blur()
    expect(folds).to_have_value("10")
