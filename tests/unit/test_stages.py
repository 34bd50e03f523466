from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from include.accidents.errors import CatalogueError, InputError, ModelError, StorageError
from include.accidents.features.knowledge import STATES
from include.accidents.features.version import feature_version
from include.accidents.models import budget, candidates, search
from include.accidents.models.specification import Defaults, ModelSpec
from include.accidents.pipeline import ingest, inputs, judge, log, predict
from include.accidents.pipeline import search as stage
from include.accidents.registry import loading, names, skops_files
from include.accidents.registry.names import REPORT, of_selection
from include.accidents.storage.buckets import INCOMING, MODELS, RAW
from include.accidents.storage.folder import FolderStore
from include.accidents.synthetic.sample import write_sample
from tests.unit.runs import DUMMY, KEY, TREE, Runs

CATALOGUE = json.dumps({"models": {"Tree": {"pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier"}]]}}})


class Objects(FolderStore):
    """A store that holds some objects, and remembers the versions that are written."""

    def __init__(self, objects: dict[tuple[str, str], bytes]) -> None:
        super().__init__(Path(mkdtemp(prefix="acc-objects-")))
        for (bucket, key), content in objects.items():
            self.write(bucket, key, content)
        self.written: dict[str, Any] = {}

    def write_version(self, bucket: str, version: str, contents: Any, facts: Any) -> Any:
        self.written[version] = contents
        return super().write_version(bucket, version, contents, facts)


def load(
    objects: Objects,
    address: str,
    wanted: list[str] | None = None,
    folds: int | None = None,
    max_rows: int | None = None,
) -> tuple[list[str], str]:
    return inputs.load_catalogue(objects, address, wanted, folds=folds, max_rows=max_rows)


def test_a_catalogue_is_read_from_a_path_or_from_a_bucket(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text(CATALOGUE)
    store = Objects({("settings", "a/models.json"): CATALOGUE.encode()})
    from_path = load(store, str(tmp_path / "models.json"))
    assert from_path == load(store, "s3://settings/a/models.json")
    assert from_path[0] == ["Tree"]
    assert store.written[from_path[1]] == {"models.json": CATALOGUE.encode()}


def test_the_forms_folds_and_cap_replace_the_catalogues_but_not_a_models_own_lower_cap() -> None:
    models = json.loads(CATALOGUE)["models"]
    said = {"models": {"Tree": models["Tree"], "Small": {**models["Tree"], "max_rows": 1500}}}
    store = Objects({("b", "k"): json.dumps(said).encode()})
    _, version = load(store, "s3://b/k", folds=4, max_rows=2000)
    kept = json.loads(store.written[version]["models.json"])
    assert kept["defaults"] == {"search_folds": 4, "evaluation_folds": 4}
    assert {name: model["max_rows"] for name, model in kept["models"].items()} == {"Tree": 2000, "Small": 1500}


@pytest.mark.parametrize("address", ["s3://settings/absent.json", "absent.json"])
def test_a_catalogue_that_is_not_there_is_named(address: str) -> None:
    with pytest.raises(CatalogueError, match=r"absent\.json cannot be read") as caught:
        load(Objects({}), address)
    assert "ACCIDENTS_MODELS_FILE" in caught.value.remedy


def test_a_folder_of_the_form_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder .*nowhere.* 'Folder of CSVs'"):
        ingest.load_raw(FolderStore(tmp_path), tmp_path / "nowhere", [], chosen=True)


def test_registrations_in_the_bucket_are_passed_over(tmp_path: Path) -> None:
    store, folder = FolderStore(tmp_path / "store"), tmp_path / "raw"
    write_sample(folder, years=(2023,), accidents_per_year=100)
    store.write(RAW, "vehicule-immatricule-baac-2023.csv", b"registrations")
    store.write(RAW, "immatriculations-2010.csv", b"registrations")
    (year,) = ingest.load_raw(store, folder, [], chosen=True)
    assert year.year == 2023


def test_a_model_that_the_catalogue_does_not_hold_is_refused() -> None:
    with pytest.raises(CatalogueError, match="did you mean 'Tree'"):
        load(Objects({("b", "k"): CATALOGUE.encode()}), "s3://b/k", ["Tre"])


def test_the_models_that_took_longest_start_first_and_unknown_ones_before_them(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, KEY)
    for version, training, evaluation in (
        ("Oak-1", 90, 90),
        ("Oak-2", 10, 20),
        ("Elm-A-1", 30, 40),
        ("Ash-1", 5, None),
    ):
        store.write_version(MODELS, version, {}, {"seconds": training})
        if evaluation:
            store.write_version(MODELS, f"{version}/evaluation", {}, {"seconds": evaluation})
    store.write_version(MODELS, "catalogue-1", {}, {})
    assert inputs.longest_first(store, ["Oak", "Yew", "Elm-A", "Ash", "Fir"]) == ["Yew", "Ash", "Fir", "Elm-A", "Oak"]


def test_metrics_that_are_no_numbers_fail_the_model() -> None:
    with pytest.raises(ModelError, match="cv_log_loss"):
        log._check_numbers({"cv_accuracy": 0.5, "cv_log_loss": float("nan")})


def test_a_search_that_its_time_cut_short_is_taken_up_again_with_more_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(tmp_path)
    tried: list[float] = []

    def cut(spec: ModelSpec, defaults: Defaults, data: object) -> search.SearchResult:
        tried.append(candidates.minutes(spec, defaults))
        late = tried[-1] > 1
        row = {"candidate": 0, "params": {}, "rank_test_score": 1, "mean_test_score": 0.5, "std_test_score": 0.0}
        row |= {"mean_fit_time": 0.1, "rows": 100, "error": ""}
        return search.SearchResult(
            {"clf__max_depth": 2 if late else 1}, 0.5, [row], "" if late else "1 of 2 were tried"
        )

    monkeypatch.setattr(search, "search", cut)
    depths = []
    for minutes in (1, 1, 0.5, 2, 1):
        _, catalogue = runs.catalogue({"Oak": {**TREE, "minutes": minutes}})
        trained = runs.train("Oak", catalogue)
        content = runs.store.read_version(MODELS, trained.version, "Oak_model.skops")
        depths.append(skops_files.loads(content).get_params()["clf__max_depth"])
    assert tried == [1, 2]
    assert depths == [1, 1, 1, 2, 2]


def test_a_plan_is_kept_with_the_version_so_that_a_repeated_run_gives_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runs, planned = Runs(tmp_path), []

    def slow(*_: object) -> budget.Plan:
        planned.append(1600 - 100 * len(planned))  # a slower machine would allow fewer
        return budget.Plan(planned[-1], (budget.Probe(1500, 2.0, 0.1, 0.8),))

    monkeypatch.setattr(budget, "plan", slow)
    _, catalogue = runs.catalogue({"Oak": TREE})
    first = runs.train("Oak", catalogue)
    again = stage.search_params(runs.store, "Oak", runs.data, catalogue, force=True)
    assert planned == [1600]
    assert first.max_rows == again.max_rows == 1600
    assert "It learns from 1,600 of" in caplog.text
    runs.count = 1
    runs.log(first)
    run = runs.logged()["Oak"]
    assert run.data.params["max_rows"] == "1600"
    assert json.loads(runs.artifact(run, "plan.json"))["probes"][0]["people"] == 1500
    _, catalogue = runs.catalogue({"Oak": {**TREE, "minutes": 20}})  # another limit: another plan, another model
    later = runs.train("Oak", catalogue)
    assert (later.version, later.max_rows) == (first.version, 1500)
    manifest = runs.store.manifest(MODELS, later.version)
    assert manifest is not None
    assert manifest["max_rows"] == 1500


def test_another_recall_gives_other_thresholds_without_another_cross_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, rules = Runs(tmp_path), []
    for runs.count, runs.recall in enumerate((0.8, 0.5), start=1):
        _, catalogue = runs.catalogue({"Oak": TREE})
        logged = runs.log(runs.train("Oak", catalogue))
        version = logged.registered_version
        rules.append(loading.load(runs.client, "Oak", version, KEY, feature_version()).decision)
        monkeypatch.setattr(judge.isolate, "run", lambda *_, what, **__: pytest.fail(f"{what} was made once more"))
    for state in STATES:
        before, after = (each[state] for each in rules)
        assert (before.recall, after.recall) == (pytest.approx(0.8, abs=0.15), pytest.approx(0.5, abs=0.15)), state
        assert before.threshold < after.threshold, state
        assert (before.any_severe, before.sharpen) == (after.any_severe, after.sharpen), state
    kept = json.loads(runs.artifact(runs.logged()["Oak"], names.DECISION))
    assert {state: rule["threshold"] for state, rule in kept.items()} == {s: r.threshold for s, r in rules[1].items()}


def test_a_model_is_judged_at_every_level_of_knowledge(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.count = 1
    _, catalogue = runs.catalogue({"Oak": TREE})
    runs.log(runs.train("Oak", catalogue))
    metrics = runs.logged()["Oak"].data.metrics
    for state in STATES:
        for name in ("f1_weighted", "accident_auc_severe", "alert_recall", "alert_precision", "expected_killed_ratio"):
            assert f"{state}_{name}" in metrics
    assert metrics["record_f1_weighted"] == metrics["test_f1_weighted"]
    assert metrics["record_auc_severe"] > metrics["drivers_alone_auc_severe"]
    assert not [name for name in metrics if name.startswith(("call_", "temporal_"))]


def test_who_may_write_to_the_store_alone_gets_no_model_signed(tmp_path: Path) -> None:
    """A manifest that bears no signature of ours does not exist, so neither does the file that it names."""
    runs = Runs(tmp_path)
    _, catalogue = runs.catalogue({"Oak": TREE, "Strange": DUMMY})
    oak, strange = (runs.train(name, catalogue).version for name in ("Oak", "Strange"))
    theirs = runs.store.read_version(MODELS, strange, "Strange_model.skops")
    other = FolderStore(tmp_path / "store", b"another key")
    other.write_version(MODELS, oak, {"Oak_model.skops": theirs}, {"params": {}, "seconds": 0.1})
    assert other.read_version(MODELS, oak, "Oak_model.skops") == theirs
    with pytest.raises(StorageError, match="never completed"):
        runs.store.read_version(MODELS, oak, "Oak_model.skops")
    trained = runs.train("Oak", catalogue)
    assert b"Dummy" not in runs.store.read_version(MODELS, trained.version, "Oak_model.skops")


@pytest.mark.parametrize("harm", ["another place", "another fact", "no signature"])
def test_a_manifest_is_signed_with_all_that_it_says_and_where_it_lies(tmp_path: Path, harm: str) -> None:
    store = FolderStore(tmp_path, KEY)
    store.write_version(MODELS, "Oak-1", {"a": b"1"}, {"seconds": 1.5, "years": (2021,), "by": {2021: None}})
    path = tmp_path / MODELS / "versions" / "Oak-1" / "manifest.json"
    said = json.loads(path.read_text())
    assert store.manifest(MODELS, "Oak-1") == {name: value for name, value in said.items() if name != "signature"}
    if harm == "another place":
        shutil.copytree(path.parent, path.parents[1] / "Oak-2")
        assert store.manifest(MODELS, "Oak-2") is None
        return
    if harm == "another fact":
        said["seconds"] = 2.5
    else:
        del said["signature"]
    path.write_text(json.dumps(said))
    assert store.manifest(MODELS, "Oak-1") is None


def test_a_batch_with_two_files_for_one_table_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = ["a/caracteristiques-2023.csv", "a/lieux-2023.csv", "a/vehicules-2023.csv", "a/usagers-2023.csv"]

    store = FolderStore(tmp_path)
    for key in keys:
        store.write(INCOMING, key, b"")
    assert [found.name for found in predict.find_batches(store)] == ["a/2023"]
    store.write(INCOMING, "a/usagers_2023.csv.gz", b"")
    assert predict.find_batches(store) == []
    assert "a/2023 waits until one of a/usagers-2023.csv and a/usagers_2023.csv.gz is deleted." in caplog.text


def test_unchanged_inputs_register_no_new_version(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    first = runs.run({"Oak": TREE, "Dull": DUMMY})
    before = runs.logged()
    again = runs.run({"Oak": TREE, "Dull": DUMMY})
    assert (first.promoted, again.promoted, runs.production) == (True, False, "1")
    assert "Oak stays in production (BestModel 1): nothing has changed." in again.note
    assert {name: run.info.run_id for name, run in runs.logged().items()} == {
        name: run.info.run_id for name, run in before.items()
    }
    assert loading.newest(runs.client, "Oak") == loading.newest(runs.client, "Dull") == "1"
    oak = runs.logged()["Oak"]
    for dag_run in ("run-1", "run-2"):  # the later selection keeps the report of the earlier one
        assert dag_run in runs.artifact(oak, of_selection(dag_run, REPORT))
    assert oak.data.tags["selection_reason"] == first.reason


def test_one_changed_model_is_the_only_new_version(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.run({"Oak": TREE, "Dull": DUMMY})
    uniform = {"pipeline": [["clf", {"class": "sklearn.dummy.DummyClassifier", "params": {"strategy": "prior"}}]]}
    runs.run({"Oak": TREE, "Dull": uniform})
    assert (loading.newest(runs.client, "Oak"), loading.newest(runs.client, "Dull")) == ("1", "2")
    # Back to what was before: the newest version is another one, so a third is made.
    runs.run({"Oak": TREE, "Dull": DUMMY})
    assert (loading.newest(runs.client, "Oak"), loading.newest(runs.client, "Dull")) == ("1", "3")


def test_a_full_evaluation_serves_for_a_basic_one_and_not_the_other_way_round(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    _, catalogue = runs.catalogue({"Oak": TREE})
    trained = runs.train("Oak", catalogue)
    made = []
    for evaluation in ("basic", "full", "basic", "full"):
        runs.count += 1
        made.append(runs.log(trained, evaluation).registered_version)
    assert made == ["1", "2", "2", "2"]


@pytest.mark.parametrize("change", ["recall", "signing key", "file", "withdrawn"])
def test_what_an_evaluation_depends_on_makes_a_new_version(tmp_path: Path, change: str) -> None:
    runs = Runs(tmp_path)
    runs.run({"Oak": TREE})
    if change == "recall":
        runs.recall = 0.7
    elif change == "signing key":
        runs.client.set_model_version_tag("Oak", "1", "signature", "of another key")
    elif change == "file":
        for path in (tmp_path / "artifacts").rglob("model.skops"):
            path.unlink()
    else:
        runs.client.delete_model_version("Oak", "1")
    if change == "file":
        runs.count += 1
        _, catalogue = runs.catalogue({"Oak": TREE})
        runs.log(runs.train("Oak", catalogue))
    else:
        runs.run({"Oak": TREE})
    assert loading.newest(runs.client, "Oak") == "2"
