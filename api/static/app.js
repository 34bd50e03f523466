// The page: tabs, language, and when what is asked.

import { $ } from "./dom.js";
import * as form from "./form.js";
import { isAskedFor, look, models } from "./models.js";
import { explainError, predict } from "./results.js";
import { language, speak, t } from "./texts.js";
import * as upload from "./upload.js";

const PAUSE_MS = 150; // between changes, before anything is asked
let waiting = 0;

const later = () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => predict(models), PAUSE_MS);
};

function translate() {
  document.documentElement.lang = language;
  document.title = t("title");
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = t(each.dataset.text);
  for (const each of document.querySelectorAll("[data-language]"))
    each.setAttribute("aria-pressed", each.dataset.language === language);
  upload.nameFiles();
}

function change(chosen) {
  speak(chosen);
  translate();
  form.draw();
  look().then(later);
  upload.draw();
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
    const to =
      { Home: 0, End: tabs.length - 1 }[event.key] ?? (step && (tabs.indexOf(tab) + step + tabs.length) % tabs.length);
    if (to === undefined) return;
    event.preventDefault();
    select(tabs[to], true);
  });
}

// --- start ---

for (const button of document.querySelectorAll("[data-language]"))
  button.addEventListener("click", () => change(button.dataset.language));
$("#scene").addEventListener("submit", (event) => {
  event.preventDefault();
  predict(models).then(() => $(".results").scrollIntoView({ block: "nearest" }));
});
upload.start();
translate();
if (isAskedFor()) select($("#tab-models"));
Promise.all([look(), form.start(later)])
  .then(() => predict(models))
  .catch((error) => {
    $("#error").replaceChildren(...explainError(error));
    $("#error").hidden = false;
  });
