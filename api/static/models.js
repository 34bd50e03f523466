// The loaded models, side by side.

import { $, ask, h } from "./dom.js";
import { language, number, t } from "./texts.js";

const GROUPS = [
  ["crossValidation", ["cv_f1_weighted", "cv_accuracy"]],
  ["heldOut", ["test_f1_weighted", "test_f1_macro", "test_auc_severe"]],
  ["firstCall", ["first_call_f1_weighted", "first_call_auc_severe"]],
  ["ofAccidents", ["record_accident_auc_severe"]],
];
const ASKED = new URLSearchParams(location.search).get("model"); // from a button in Airflow
export const isAskedFor = () => ASKED !== null;
export let models = [];

export async function look() {
  const loaded = await ask("/api/v1/models").then((answer) => answer.json());
  const best = loaded.find((model) => model.name === "BestModel");
  // The model in production is a copy; its original has no line of its own unless it has been trained again since.
  models = loaded
    .filter((model) => model === best || model.run_id !== best?.run_id)
    .map((model) => ({ ...model, best: model === best }))
    .sort((a, b) => (b.metrics.selection_score ?? 0) - (a.metrics.selection_score ?? 0));
  $("#generated").hidden = !best?.sample;
  $("#status").textContent = best ? t("ready")(best.trained_as, best.version) : t("notReady");
  drawChoice();
  drawBoard();
}

function drawChoice() {
  const chosen = $("#csv-model").value || "BestModel";
  $("#csv-model").replaceChildren(
    ...models.map((model) =>
      h(
        "option",
        { value: model.name, selected: model.name === chosen },
        model.best ? `${model.trained_as} (${t("production")})` : model.name,
      ),
    ),
  );
}

function drawBoard() {
  const known = (name) => models.some((model) => name in model.metrics);
  const groups = GROUPS.map(([group, names]) => [group, names.filter(known)]).filter(([, names]) => names.length > 0);
  $("#panel-models").replaceChildren(
    h(
      "div",
      { class: "card" },
      h("h2", {}, t("leaderboard")),
      h("p", { class: "help" }, t("leaderboardHelp")),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": t("leaderboard") },
        h(
          "table",
          { class: "board" },
          ...drawHead(groups),
          h(
            "tbody",
            {},
            ...models.map((model) =>
              drawModel(
                model,
                groups.flatMap(([, names]) => names),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

function drawHead(groups) {
  const alone = (name) => h("th", { scope: "col", rowspan: 2 }, t(name));
  return [
    h("colgroup", {}, h("col", { span: 2 })),
    ...groups.map(([, names]) => h("colgroup", {}, h("col", { span: names.length }))),
    h("colgroup", {}, h("col", { span: 3 })),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        alone("model"),
        alone("selection_score"),
        ...groups.map(([group, names]) => h("th", { scope: "colgroup", colspan: names.length }, t(group))),
        alone("data"),
        alone("since"),
        alone("requests"),
      ),
      h("tr", {}, ...groups.flatMap(([, names]) => names.map((name) => h("th", { scope: "col" }, t(name))))),
    ),
  ];
}

function drawModel(model, names) {
  const since = new Date(model.loaded_since).toLocaleString(language, { dateStyle: "short", timeStyle: "short" });
  return h(
    "tr",
    { class: model.best ? "best" : "", "aria-current": isTheOne(model) ? "true" : false },
    h(
      "th",
      { scope: "row" },
      model.trained_as,
      h("small", {}, ` v${model.version}`),
      model.best && h("span", { class: "chip plain" }, t("production")),
    ),
    ...["selection_score", ...names].map((name) =>
      h("td", {}, name in model.metrics ? number(model.metrics[name], 4) : "–"),
    ),
    h("td", {}, t(model.sample ? "sample" : "real")),
    h("td", {}, since),
    h("td", {}, number(model.requests)),
  );
}

function isTheOne(model) {
  return ASKED === model.name || (ASKED === model.trained_as && !models.some((other) => other.name === ASKED));
}
