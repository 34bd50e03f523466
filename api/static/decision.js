// What is decided on: the accident. Whether it deserves an alert, what that promises, and what would sharpen the answer.

import { h } from "./dom.js";
import { firstWithout, reveal } from "./form.js";
import { nameOf, whose } from "./names.js";
import { levels, scene } from "./scene.js";
import { CLASSES, number, percent, risk, say, t } from "./texts.js";

const DATE = ["accident.an", "accident.mois", "accident.jour"];
const POSITION = ["accident.lat", "accident.long"];

export const verdict = (answer) => t(answer.alert ? "alert" : "noAlert");

export function drawDecision(answer) {
  return h(
    "section",
    { class: `card decision ${answer.alert ? "alerting" : "calm"}`, "aria-labelledby": "verdict" },
    h(
      "header",
      {},
      h(
        "h3",
        { id: "verdict" },
        h("span", { class: "sign", "aria-hidden": "true" }, answer.alert ? "▲" : "●"),
        verdict(answer),
      ),
      h(
        "span",
        { class: "help" },
        t(answer.alert ? "thresholdReached" : "thresholdNot")(percent(answer.alert_threshold)),
      ),
    ),
    h("p", { class: "chance" }, h("strong", {}, risk(answer.p_any_severe)), h("span", {}, t("anySevere"))),
    gauge(answer),
    h("p", { class: "help" }, t("promise")(percent(answer.alert_recall), percent(answer.alert_precision))),
    drawFacts(answer),
    drawLevel(answer.level),
    drawAssumed(answer.assumed ?? {}),
    drawSharpen(answer.sharpen ?? []),
  );
}

function gauge({ p_any_severe: p, alert_threshold: threshold }) {
  const filled = h("span", { class: "filled" });
  const tick = h("span", { class: "tick" });
  filled.style.width = `${(100 * p).toFixed(2)}%`;
  tick.style.left = `${(100 * threshold).toFixed(2)}%`;
  return h("div", { class: "gauge", "aria-hidden": "true" }, filled, tick);
}

function drawFacts(answer) {
  return h(
    "dl",
    { class: "facts" },
    h("div", {}, h("dt", {}, t("anyKilled")), h("dd", {}, h("strong", {}, risk(answer.p_any_killed)))),
    h(
      "div",
      {},
      h("dt", {}, t("expected")),
      h(
        "dd",
        { class: "expected" },
        ...[...CLASSES]
          .reverse()
          .map((name) => h("span", { class: `chip ${name}` }, `${t(name)} ${number(answer.expected[name], 1)}`)),
      ),
    ),
  );
}

function drawLevel(name) {
  const at = levels.findIndex((level) => level.name === name);
  if (at < 0) return null;
  const steps = h(
    "span",
    { class: "steps", "aria-hidden": "true" },
    ...levels.map((_, i) => h("i", { class: i <= at ? "reached" : "" })),
  );
  return h(
    "p",
    { class: "level" },
    steps,
    h("span", {}, `${t("nearestLevel")} `, h("q", {}, say(levels[at].label).replace(/\.$/, ""))),
  );
}

// The API speaks English; what it usually assumes has words of the page's own.
function drawAssumed(assumed) {
  const words = { people: t("assumedPeople"), position: scene.accident.com && t("assumedPosition") };
  const lines = Object.entries(assumed).map(([what, text]) =>
    words[what] ? h("li", {}, words[what]) : h("li", { lang: "en" }, text),
  );
  return lines.length > 0 && h("div", { class: "assumed" }, h("strong", {}, t("assumed")), h("ul", {}, ...lines));
}

function drawSharpen(paths) {
  const wanted = new Map(paths.map((path) => [asShown(path), path]).reverse());
  const buttons = [...wanted.keys()]
    .reverse()
    .map((path) =>
      h(
        "button",
        { type: "button", "data-field": wanted.get(path), onclick: () => reveal(path) },
        `+ ${invitation(path)}`,
      ),
    );
  return (
    buttons.length > 0 &&
    h("div", { class: "sharpen", role: "group", "aria-label": t("sharpen") }, h("p", {}, t("sharpen")), ...buttons)
  );
}

// One input stands for the three fields of the date, and a position needs both coordinates.
function asShown(path) {
  if (DATE.includes(path)) return DATE[0];
  if (POSITION.includes(path)) return POSITION[0];
  const [part] = path.split(".");
  return part !== "accident" && scene[part].length === 0 ? part : path;
}

function invitation(path) {
  const [part, name] = path.split(".");
  if (path === DATE[0]) return t("date");
  if (path === POSITION[0]) return t("position");
  if (!name) return t(part === "people" ? "aPerson" : "aVehicle");
  const label = nameOf(path);
  return part === "accident" ? label : `${whose(part, firstWithout(part, name))} · ${label}`;
}
