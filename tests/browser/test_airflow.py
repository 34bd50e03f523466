"""Airflow as its users drive it: the form, the grid, an instance's log, the ways out of it; in a real browser."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image
from playwright.sync_api import Error, Locator, Page, expect, sync_playwright

from include.accidents.synthetic.sample import write_sample
from ops.local.stack import connect
from tests.browser.chromium import CHROMIUM, FLAGS, PATIENCE_MS
from tests.helpers import BROKEN, DAG, TREE

# A folder, when pictures for the documentation are wanted.
PICTURES = os.environ.get("ACCIDENTS_PICTURES")
RUN_MS = 600_000
# Its words or, where Airflow drew the button before it had read the page's words, by the key that it then shows for good.
DAG_DOCS = re.compile("Dag Docs|header.buttons.dagDocs")
BATCH, PRUNE = "accidents_batch_predict_dag", "accidents_prune_dag"
TASKS = {
    DAG: (
        "load_csv_to_s3", "prepare_data", "clean_data", "load_model_names", "search_params", "train_model", "log_model",
        "reload_model", "select_best_model", "reload_best_model",
    ),
    BATCH: ("find_batches", "predict_batch"),
    PRUNE: ("plan_removal", "remove_planned"),
}  # fmt: skip
# The last table of each task's log, by its heading.
SUMMARIES = {
    "load_csv_to_s3": r"year\s+table\s+file\s+size",
    "prepare_data/mapped/0": r"file\s+rows read\s+rows kept\s+left out",
    "clean_data": r"train_test\s+[\d,]+",
    "load_model_names": r"model\s+search\s+candidates\s+fits\s+people at most",
    "search_params/mapped/0": r"rank\s+score\s+std\s+s a fit\s+people\s+parameters",
    "train_model/mapped/0": r"seconds of training\s+[\d.]+",
    "log_model/mapped/0": r"metric\s+cross-validated\s+±\s+global_test",
    "reload_model/mapped/0": r"model\s+Oak",
    "select_best_model": r"model\s+selection_score\s+cv_f1_weighted",
    "reload_best_model": r"model\s+BestModel",
}

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
        opened.context.set_default_timeout(PATIENCE_MS)  # of its pop-ups too
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
    """The address of a run of Oak and Elm, triggered by the form, whose grid was watched until it was done."""
    models: dict[str, Any] = {"Oak": TREE, "Elm": TREE, "Broken": BROKEN}
    said = {"defaults": {"evaluation_folds": 2, "search_folds": 2}, "models": models}
    Path(stack["ACCIDENTS_MODELS_FILE"]).write_text(json.dumps(said))
    return trigger(page, stack, sample, ("Oak", "Elm"), "airflow-grid-while")


@pytest.fixture(scope="module")
def broken_run(page: Page, stack: dict[str, str], sample: Path, run: str) -> str:
    """The address of a run of Oak and of a model that fails."""
    return trigger(page, stack, sample, ("Oak", "Broken"))


def trigger(page: Page, stack: dict[str, str], sample: Path, models: tuple[str, ...], watched: str = "") -> str:
    """Fill the form, press Trigger, watch the grid until the run is done; return the run's address."""
    form = open_form(page, stack, DAG)
    for _ in range(20):  # the form suggests what the catalogue held when Airflow last read the DAG's file
        form.get_by_role("combobox").first.click()
        page.wait_for_timeout(1000)
        if page.get_by_role("option", name=models[0], exact=True).count():
            break
        page.wait_for_timeout(3000)
        form = open_form(page, stack, DAG)
    page.get_by_role("option", name=models[0], exact=True).click()
    for name in models[1:]:
        form.get_by_role("combobox").first.click()
        page.get_by_role("option", name=name, exact=True).click()
    if watched:
        picture(page, "airflow-form", height=1500)
    form.locator("#element_raw_dir").fill(str(sample))
    form.get_by_role("button", name="Trigger", exact=True).click()
    page.wait_for_url(re.compile(r"/runs/manual"))
    address = page.url.split("?")[0].rstrip("/")
    page.goto(f"{address}/details")  # the grid stands beside it
    row = page.locator("[id^='grid-manual'][id$='-search_params']").first
    # Disabled when all is unfolded, which the page remembers, and reads at some moment after it has drawn the button.
    expand = page.locator("[data-testid='expand-all-button']:enabled").first
    for _ in range(PATIENCE_MS // 1000):
        if row.is_visible():
            break
        if expand.is_visible():
            with suppress(Error):
                expand.click(timeout=1000)
        page.wait_for_timeout(1000)
    expect(row).to_be_visible()
    if watched:
        page.wait_for_timeout(15_000)
        picture(page, watched)
    expect(page.get_by_text(re.compile("^(Success|Failed)$")).first).to_be_visible(timeout=RUN_MS)
    return address


def open_form(page: Page, stack: dict[str, str], dag: str) -> Locator:
    page.goto(f"{stack['AIRFLOW_URL']}/dags/{dag}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.locator("[role=dialog][aria-modal=true]")
    expect(form.get_by_role("button", name="Trigger", exact=True)).to_be_visible()
    return form


def picture(page: Page, name: str, height: int = 900) -> None:
    """Take a picture for the documentation, in few colours: a tenth of the bytes."""
    if PICTURES:
        page.set_viewport_size({"width": 1400, "height": height})
        page.wait_for_timeout(1500)
        path = Path(PICTURES) / f"{name}.png"
        page.screenshot(path=path)
        page.set_viewport_size({"width": 1400, "height": 900})
        with Image.open(path) as taken:
            taken.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


def expect_instances(page: Page, run: str, task: str, states: dict[str, str]) -> None:
    """Open the list of a task's mapped instances, and see that it has exactly these, by name and state."""
    page.goto(f"{run}/tasks/{task}/mapped")
    rows = page.locator("table tbody tr")
    expect(rows).to_have_count(len(states))
    for name, state in states.items():
        expect(rows.filter(has=page.get_by_role("link", name=name, exact=True))).to_contain_text(state)


def open_log(page: Page, run: str, task: str) -> None:
    page.goto(f"{run}/tasks/{task}")
    expect(page.get_by_text("Post Execute").first).to_be_visible()


def test_the_grid_shows_exactly_the_chosen_models(page: Page, run: str) -> None:
    for task in ("search_params", "train_model", "log_model", "reload_model"):
        expect_instances(page, run, task, {"Oak": "Success", "Elm": "Success"})
    picture(page, "airflow-grid-after")


def test_every_log_ends_with_its_summary_without_warnings_or_secrets(
    page: Page, run: str, stack: dict[str, str]
) -> None:
    secrets = [value for name, value in stack.items() if re.search("PASSWORD|SECRET|API_KEY|SIGNING", name) and value]
    assert len(secrets) >= 3
    for task, summary in SUMMARIES.items():
        open_log(page, run, task)
        expect(page.get_by_text(re.compile(summary)).first).to_be_visible()
        if task == "log_model/mapped/0":
            picture(page, "airflow-log")
        if task == "search_params/mapped/0":
            expect(page.get_by_text(re.compile(r"Candidate 2 of 2: 0\.\d+")).first).to_be_visible()
            picture(page, "airflow-search")
    # The page draws only the lines in sight; all of them are read as the page reads them.
    airflow, run_id = connect(stack), unquote(run.rpartition("/")[2])
    for instance in airflow.task_instances(run_id):
        entries = airflow.log(run_id, instance)
        # A tree of so few people is warned of, rightly.
        told = [
            each
            for each in entries
            if each.get("level") in ("warning", "error", "critical") and "calibrated" not in each["event"]
        ]
        assert not told, instance.task_id
        text = json.dumps(entries)
        assert not [secret for secret in secrets if secret in text], instance.task_id
        assert "Returned value was" not in text, f"{instance.task_id}: what it returned is no part of the log"
        assert len(entries) > 3, instance.task_id


def test_every_button_opens_what_it_names(page: Page, run: str, stack: dict[str, str]) -> None:
    def follow(task: str, button: str) -> Page:
        page.goto(f"{run}/tasks/{task}/details")
        with page.context.expect_page() as opened:
            page.get_by_role("link", name=button).click()
        return opened.value

    for task, holds in {
        "prepare_data/mapped/0": "usagers",
        "clean_data": "global_test",
        "search_params/mapped/0": "clf__min_samples_leaf",
        "train_model/mapped/0": "Oak_model.skops",
    }.items():
        opened = follow(task, "Object in the bucket")
        expect(opened.get_by_text(holds).first).to_be_visible()
        opened.close()
    opened = follow("reload_model/mapped/0", "Model in the API")
    expect(opened.locator("tr[aria-current]")).to_contain_text("Oak")
    assert opened.url.startswith(stack["ACCIDENTS_API_URL"])
    opened.close()
    opened = follow("select_best_model", "MLflow")
    expect(opened.get_by_text("BestModel").first).to_be_visible()
    opened.close()
    opened = follow("log_model/mapped/0", "MLflow")
    expect(opened.get_by_text("Oak").first).to_be_visible()
    opened.get_by_text("Artifacts", exact=True).first.click()
    opened.get_by_text("confusion_matrix.png").first.click()
    expect(opened.locator("img[src^='blob:'], img[src*='confusion_matrix'], canvas").first).to_be_visible()
    picture(opened, "mlflow-artifact")
    opened.close()


def test_a_broken_model_alone_is_red_and_says_why(page: Page, broken_run: str) -> None:
    expect_instances(page, broken_run, "search_params", {"Oak": "Success", "Broken": "Failed"})
    picture(page, "airflow-mapped")
    expect_instances(page, broken_run, "reload_model", {"Oak": "Success", "0": "Upstream"})
    page.goto(f"{broken_run}/tasks/search_params/mapped/0")
    expect(page.get_by_text("Input X contains NaN").first).to_be_visible()
    picture(page, "airflow-reason")


def test_the_note_of_the_run_tells_the_failure(page: Page, broken_run: str) -> None:
    """The page shows a note's beginning; what follows in it, the end-to-end tests read."""
    page.goto(broken_run)
    expect(page.get_by_text("Broken failed: search_params").first).to_be_visible()
    picture(page, "airflow-note")
    page.goto(f"{broken_run}/details")
    expect(page.get_by_text(re.compile("^Success$")).first).to_be_visible()


def test_a_wrong_value_cannot_leave_the_form(page: Page, stack: dict[str, str]) -> None:
    folds = open_form(page, stack, DAG).get_by_role("spinbutton").first
    folds.fill("99")
    folds.blur()
    expect(folds).to_have_value("10")


@pytest.mark.parametrize("dag", TASKS)
def test_each_dag_and_each_task_has_a_page_for_people(page: Page, stack: dict[str, str], dag: str) -> None:
    def said(button: str | re.Pattern[str]) -> str:
        page.get_by_role("button", name=button).click()
        opened = page.get_by_role("dialog").last
        expect(opened.locator("strong, p").first).to_be_visible()
        return opened.inner_text()

    page.goto(f"{stack['AIRFLOW_URL']}/dags/{dag}")
    assert len(said(DAG_DOCS)) > 200
    picture(page, f"airflow-docs-{dag}")
    for task in TASKS[dag]:
        page.goto(f"{stack['AIRFLOW_URL']}/dags/{dag}/tasks/{task}")
        text = said("Documentation")
        assert "When it fails" in text, task
        assert re.search("Reads|Writes|Calls", text), task


def test_upkeep_only_tells_at_first_and_batches_can_be_started_by_hand(
    page: Page, stack: dict[str, str], run: str
) -> None:
    form = open_form(page, stack, PRUNE)
    form.get_by_role("spinbutton").first.fill("1")
    picture(page, "airflow-prune-form")
    address = started(page, form)
    open_log(page, address, "plan_removal")
    expect(page.get_by_text(re.compile(r"stay\s+to remove")).first).to_be_visible()
    picture(page, "airflow-prune-log")
    page.goto(f"{address}/tasks/remove_planned")
    expect(page.get_by_text("Skipped", exact=True).first).to_be_visible()
    address = started(page, open_form(page, stack, BATCH))
    open_log(page, address, "find_batches")
    expect(page.get_by_text("0 batches to predict").first).to_be_visible()


def started(page: Page, form: Locator) -> str:
    form.get_by_role("button", name="Trigger", exact=True).click()
    page.wait_for_url(re.compile(r"/runs/manual"))
    address = page.url.split("?")[0].rstrip("/")
    page.goto(f"{address}/details")
    expect(page.get_by_text(re.compile("^(Success|Failed)$")).first).to_be_visible(timeout=RUN_MS)
    return address
