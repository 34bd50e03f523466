// Files: what comes back for them, counted, scored where their severities are known, and to be downloaded.

import { drawCalibration } from "./calibration.js";
import { $, ask, h } from "./dom.js";
import { explainError } from "./results.js";
import { number, percent, t } from "./texts.js";

const ADDED = [
  "p_unharmed",
  "p_killed",
  "p_hospitalised",
  "p_light",
  "p_severe",
  "predicted_class",
  "severe",
  "p_any_severe",
  "p_any_killed",
  "alert",
  "level",
];
const CLASS = ADDED.indexOf("predicted_class");
const ALERT = ADDED.indexOf("alert");
const PREVIEW_ROWS = 20;
const share = (value) => percent(value, 1);
const score = (value) => number(value, 3);
const SCORES = [
  ["people", number],
  ["accidents", number],
  ["f1_weighted", score],
  ["f1_macro", score],
  ["accuracy", share],
  ["auc_severe", score],
  ["calibration_error", score],
  ["severe_predicted", share],
  ["severe_true", share],
  ["accident_auc_severe", score],
  ["accident_severe_predicted", share],
  ["accident_severe_true", share],
  ["alert_recall", share],
  ["alert_precision", share],
];
let last = null; // { file, text, scores }

export function start() {
  $("#upload").addEventListener("submit", upload);
  $("#files").addEventListener("change", nameFiles);
  const drop = $(".drop");
  for (const kind of ["dragover", "dragleave", "drop"])
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") $("#files").files = event.dataTransfer.files;
      if (kind === "drop") nameFiles();
    });
}

// The browser's own control speaks the browser's language, not the page's.
export function nameFiles() {
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
    last = await received(
      await ask(`/api/v1/predict-csv?model=${encodeURIComponent($("#csv-model").value)}`, { method: "POST", body }),
    );
    draw();
  } catch (error) {
    $("#csv-status").textContent = "";
    $("#csv-error").replaceChildren(...explainError(error));
    $("#csv-error").hidden = false;
  }
}

async function received(answer) {
  const file = await answer.blob();
  return { file, text: await file.text(), scores: JSON.parse(answer.headers.get("X-Scores") ?? "null") };
}

export function draw() {
  if (!last) return;
  const table = read(last.text);
  $("#csv-status").textContent = t("csvDone")(number(table.rows.length));
  const link = h(
    "a",
    { class: "button primary", href: URL.createObjectURL(last.file), download: "predictions.csv" },
    t("download"),
  );
  $("#csv-answer").replaceChildren(
    h("div", { class: "card narrow" }, link, drawCounts(table), drawAlerts(table)),
    drawScores(last.scores),
    drawPreview(table),
  );
}

/* Each row: the first cell, and those that were appended. */
function read(text) {
  const [head, ...lines] = text.trimEnd().split("\n");
  const delimiter = head[head.length - ADDED.at(-1).length - 1];
  const first = (line) => line.slice(0, line.indexOf(delimiter)).replace(/["\ufeff]/g, "");
  return { key: first(head), rows: lines.map((line) => ({ key: first(line), cells: lastCells(line, delimiter) })) };
}

function lastCells(line, delimiter) {
  let start = line.length;
  for (let i = 0; i < ADDED.length; i += 1) start = line.lastIndexOf(delimiter, start - 1);
  return line.slice(start + 1).split(delimiter);
}

function drawCounts({ rows }) {
  const counts = {};
  for (const { cells } of rows) counts[cells[CLASS]] = (counts[cells[CLASS]] ?? 0) + 1;
  return h(
    "table",
    {},
    headOf(["class", "count", "share"].map(t)),
    h(
      "tbody",
      {},
      ...Object.entries(counts)
        .sort((a, b) => b[1] - a[1])
        .map(([name, count]) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, h("span", { class: `dot ${name}` }), t(name)),
            h("td", {}, number(count)),
            h("td", {}, percent(count / rows.length, 1)),
          ),
        ),
    ),
  );
}

const headOf = (names) => h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name))));

function drawAlerts({ key, rows }) {
  if (key.toLowerCase() !== "num_acc") return null;
  const accidents = new Set(rows.map((row) => row.key));
  const alerts = new Set(rows.filter((row) => row.cells[ALERT] === "true").map((row) => row.key));
  return h(
    "p",
    { class: "alerts" },
    h("span", { class: "sign", "aria-hidden": "true" }, "▲ "),
    t("csvAlerts")(number(alerts.size), number(accidents.size), percent(alerts.size / accidents.size, 1)),
  );
}

function drawScores(scores) {
  if (!scores) return h("p", { class: "card narrow" }, t("csvNoSeverities"));
  const lines = SCORES.filter(([name]) => name in scores);
  return h(
    "div",
    { class: "card" },
    h("h2", {}, t("scores")),
    h("p", { class: "help" }, t("scoresHelp")),
    h(
      "div",
      { class: "scored" },
      h(
        "table",
        { class: "scores" },
        h(
          "tbody",
          {},
          ...lines.map(([name, write]) =>
            h("tr", {}, h("th", { scope: "row" }, t(`score_${name}`)), h("td", {}, write(scores[name]))),
          ),
        ),
      ),
      scores.calibration?.length > 0 &&
        h("figure", {}, h("figcaption", {}, t("calibration")), drawCalibration(scores.calibration)),
    ),
  );
}

function drawPreview({ key, rows }) {
  return h(
    "div",
    { class: "card" },
    h("h2", {}, t("firstRows")),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": t("firstRows") },
      h(
        "table",
        { class: "preview" },
        headOf([key, ...ADDED.map((name) => t(`column_${name}`))]),
        h(
          "tbody",
          {},
          ...rows
            .slice(0, PREVIEW_ROWS)
            .map((row) =>
              h("tr", {}, h("th", { scope: "row" }, row.key), ...row.cells.map((cell) => h("td", {}, cellOf(cell)))),
            ),
        ),
      ),
    ),
  );
}

const cellOf = (cell) => (cell === "" || Number.isNaN(Number(cell)) ? (t(cell) ?? cell) : number(Number(cell), 3));
