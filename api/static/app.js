// The page: tabs, language, and when what is asked.

import { $, ask, h } from "./dom.js";
import * as form from "./form.js";
import { predict, said } from "./results.js";
import { language, number, percent, risk, speak, t } from "./texts.js";

const METRICS = ["selection_score", "cv_f1_weighted", "cv_accuracy", "test_f1_weighted", "test_f1_macro", "test_auc_severe"];
const ADDED = ["p_unharmed", "p_killed", "p_hospitalised", "p_light", "p_severe", "predicted_class"];
const PREVIEW_ROWS = 20;
const ASKED = new URLSearchParams(location.search).get("model"); // from a button in Airflow
let models = [];
let waiting = 0;
let lastUpload = null;

const later = () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => predict(models), 150);
};

function translate() {
  document.documentElement.lang = language;
  document.title = t("title");
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = t(each.dataset.text);
  for (const each of document.querySelectorAll("[data-language]")) each.setAttribute("aria-pressed", each.dataset.language === language);
  nameFiles();
}

async function look() {
  const loaded = await ask("/api/v1/models").then((answer) => answer.json());
  const best = loaded.find((model) => model.name === "BestModel");
  // The model in production is a copy; its original has no line of its own unless it has been trained anew since.
  models = loaded.filter((model) => model === best || model.run_id !== best?.run_id).map((model) => ({ ...model, best: model === best }))
    .sort((a, b) => (b.metrics.selection_score ?? 0) - (a.metrics.selection_score ?? 0));
  $("#generated").hidden = !best?.sample;
  $("#status").textContent = best ? t("ready")(best.trained_as, best.version) : t("notReady");
  const chosen = $("#csv-model").value;
  $("#csv-model").replaceChildren(...models.map((model) => h("option", { value: model.name, selected: model.name === (chosen || "BestModel") }, model.best ? `${model.trained_as} (${t("production")})` : model.name)));
  drawModels();
}

function isAsked(model) {
  return ASKED === model.name || (ASKED === model.trained_as && !models.some((other) => other.name === ASKED));
}

function drawModels() {
  const shown = METRICS.filter((name) => models.some((model) => name in model.metrics));
  $("#panel-models").replaceChildren(h("div", { class: "card" }, h("h2", {}, t("leaderboard")), h("p", { class: "help" }, t("leaderboardHelp")),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("leaderboard") }, h("table", { class: "board" },
      h("thead", {}, h("tr", {}, ...[t("model"), t("version"), ...shown, t("data"), t("since"), t("requests")].map((name) => h("th", { scope: "col" }, t(name) ?? name)))),
      h("tbody", {}, ...models.map((model) => h("tr", { class: model.best ? "best" : "", "aria-current": isAsked(model) ? "true" : false },
        h("th", { scope: "row" }, model.trained_as, model.best && h("span", { class: "chip plain" }, t("production"))), h("td", {}, model.version),
        ...shown.map((name) => h("td", {}, name in model.metrics ? number(model.metrics[name], 4) : "–")),
        h("td", {}, model.sample ? t("sample") : t("real")), h("td", {}, new Date(model.loaded_since).toLocaleString(language, { dateStyle: "short", timeStyle: "short" })), h("td", {}, number(model.requests)))))))));
}

// --- tabs ---

const tabs = [...document.querySelectorAll("[role=tab]")];

function select(tab, focus = false) {
  for (const each of tabs) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", chosen);
    each.tabIndex = chosen ? 0 : -1;
    document.getElementById(each.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
  if (tab.id !== "tab-scene") look().catch(() => {});
}

for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const to = { Home: 0, End: tabs.length - 1 }[event.key] ?? (step && (tabs.indexOf(tab) + step + tabs.length) % tabs.length);
    if (to === undefined) return;
    event.preventDefault();
    select(tabs[to], true);
  });
}

// --- files ---

// The browser's own control speaks the browser's language, not the page's.
function nameFiles() {
  $("#chosen").textContent = [...$("#files").files].map((file) => file.name).join(", ") || t("csvNone");
}

async function upload(event) {
  event.preventDefault();
  const body = new FormData();
  for (const file of $("#files").files) body.append("files", file);
  $("#csv-error").hidden = true;
  $("#csv-answer").replaceChildren();
  $("#csv-status").textContent = t("csvWorking");
  try {
    const answer = await ask(`/api/v1/predict-csv?model=${encodeURIComponent($("#csv-model").value)}`, { method: "POST", body });
    lastUpload = await answer.blob();
    drawUpload(await lastUpload.text());
  } catch (error) {
    $("#csv-status").textContent = "";
    $("#csv-error").replaceChildren(...said(error));
    $("#csv-error").hidden = false;
  }
}

function drawUpload(text) {
  const [head, ...lines] = text.trimEnd().split("\n");
  const delimiter = head[head.length - ADDED.at(-1).length - 1];
  const counts = {};
  for (const line of lines) counts[line.slice(line.lastIndexOf(delimiter) + 1)] = (counts[line.slice(line.lastIndexOf(delimiter) + 1)] ?? 0) + 1;
  const first = (line) => line.slice(0, line.indexOf(delimiter)).replaceAll('"', "");
  $("#csv-status").textContent = t("csvDone")(number(lines.length));
  const link = h("a", { class: "button primary", href: URL.createObjectURL(lastUpload), download: "predictions.csv" }, t("download"));
  $("#csv-answer").replaceChildren(
    h("div", { class: "card narrow" }, link, h("table", {}, h("thead", {}, h("tr", {}, ...["class", "count", "share"].map((name) => h("th", { scope: "col" }, t(name))))),
      h("tbody", {}, ...Object.entries(counts).sort((a, b) => b[1] - a[1]).map(([name, count]) => h("tr", {}, h("th", { scope: "row" }, h("span", { class: `dot ${name}` }), t(name)), h("td", {}, number(count)), h("td", {}, percent(count / lines.length, 1))))))),
    h("div", { class: "card" }, h("h2", {}, t("firstRows")), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("firstRows") }, h("table", {},
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, first(head)), ...ADDED.map((name) => h("th", { scope: "col" }, t(name))))),
      h("tbody", {}, ...lines.slice(0, PREVIEW_ROWS).map((line) => h("tr", {}, h("th", { scope: "row" }, first(line)), ...line.split(delimiter).slice(-ADDED.length).map((cell) => h("td", {}, Number.isNaN(Number(cell)) ? t(cell) : number(Number(cell), 3))))))))));
}

// --- start ---

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    speak(button.dataset.language);
    translate();
    form.draw();
    look().then(later);
    if (lastUpload) lastUpload.text().then(drawUpload);
  });
}
$("#scene").addEventListener("submit", (event) => {
  event.preventDefault();
  predict(models).then(() => $(".results").scrollIntoView({ block: "nearest" }));
});
$("#upload").addEventListener("submit", upload);
const drop = $(".drop");
for (const kind of ["dragover", "dragleave", "drop"]) drop.addEventListener(kind, (event) => {
  event.preventDefault();
  drop.classList.toggle("over", kind === "dragover");
  if (kind === "drop") $("#files").files = event.dataTransfer.files;
  if (kind === "drop") nameFiles();
});
$("#files").addEventListener("change", nameFiles);
translate();
if (ASKED) select($("#tab-models"));
Promise.all([look(), form.start(later)]).then(() => predict(models)).catch((error) => {
  $("#error").replaceChildren(...said(error));
  $("#error").hidden = false;
});
