// What is predicted for each person, and what moved it.

import { h } from "./dom.js";
import { givenAt, nameOf } from "./names.js";
import { fieldOf, scene } from "./scene.js";
import { CLASSES, number, percent, risk, say, t } from "./texts.js";

const SHOWN_EFFECTS = 8;
const DRIVER = 1;

/* `why(person)` is called where an explanation is asked for. */
export function drawPeople(answer, effects, why) {
  return answer.people.map((person) => drawPerson(person, answer, effects, why));
}

function drawPerson(person, answer, effects, why) {
  const own = scene.people[person.person];
  const worst = answer.people.length > 1 && person.person === answer.worst.person;
  return h(
    "article",
    { class: `card person${worst ? " worst" : ""}` },
    h(
      "header",
      {},
      h("h3", {}, own ? titleOf(person, own) : `${sayCode(DRIVER)} · ${t("vehicle").toLowerCase()} ${person.vehicle}`),
      drawRisk(person, answer.severe_threshold),
      worst && h("span", { class: "chip plain" }, t("worst")),
      !own && h("span", { class: "chip plain" }, t("assumedOne")),
    ),
    h(
      "dl",
      { class: "bars" },
      ...CLASSES.map((name) =>
        h(
          "div",
          {},
          h("dt", {}, t(name)),
          h(
            "dd",
            {},
            bar(person.probabilities[name], name),
            h("span", { class: "share" }, risk(person.probabilities[name])),
          ),
        ),
      ),
    ),
    effects.person === person.person
      ? drawEffects(effects, person)
      : h("button", { type: "button", class: "why", onclick: () => why(person.person) }, t("why")),
  );
}

function titleOf(person, own) {
  return [
    `${t("person")} ${person.person + 1}`,
    own.catu && sayCode(own.catu).toLowerCase(),
    person.vehicle && `${t("vehicle").toLowerCase()} ${person.vehicle}`,
  ]
    .filter(Boolean)
    .join(" · ");
}

const sayCode = (catu) => say(fieldOf("people", "catu").codes.find((code) => code.code === catu));

function drawRisk(person, threshold) {
  const text = `${t("severe")} ${risk(person.severe_probability)}`;
  return h(
    "span",
    { class: `chip ${person.severe ? "killed" : "unharmed"}`, title: t("severeFrom")(percent(threshold)) },
    person.severe && h("span", { class: "sign", "aria-hidden": "true" }, "▲ "),
    text,
    person.severe && h("span", { class: "hidden" }, `, ${t("flagged")}`),
  );
}

export function bar(share, name) {
  const filled = h("span", { class: name });
  filled.style.width = `${(100 * share).toFixed(2)}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, filled);
}

// What is only assumed of people has no effect that anybody gave.
function drawEffects({ fields }, person) {
  const given = fields.filter((each) => scene.people.length > 0 || !each.field.startsWith("people"));
  const shown = given.slice(0, SHOWN_EFFECTS);
  const most = Math.max(0.01, ...shown.map((each) => Math.abs(each.severe_change)));
  return h(
    "section",
    { class: "effects" },
    h("h4", { tabindex: "-1" }, t("whyTitle")),
    h("p", { class: "help" }, t("whyHelp")),
    h("ol", {}, ...shown.map((each) => drawEffect(single(each.field, person), each.severe_change, most))),
  );
}

function drawEffect(path, change, most) {
  const up = change >= 0;
  const filled = h("span", { class: up ? "up" : "down" });
  filled.style.width = `${(50 * Math.abs(change)) / most}%`;
  return h(
    "li",
    {},
    h("span", { class: "name" }, nameOf(path), h("em", {}, ` ${givenAt(path)}`)),
    h("span", { class: "both", "aria-hidden": "true" }, filled),
    h(
      "span",
      { class: "share" },
      `${up ? "+" : "−"}${number(100 * Math.abs(change), 1)} `,
      h("span", { class: "hidden" }, `${t("points")}, ${t(up ? "raises" : "lowers")}`),
    ),
  );
}

// The others are named when there is only one of them.
function single(path, { person, vehicle }) {
  const match = /^(vehicles|people)\[others\]\.(\w+)$/.exec(path);
  if (!match) return path;
  const own = match[1] === "people" ? person : scene.vehicles.findIndex((each) => each.id === vehicle);
  const others = scene[match[1]].map((_, i) => i).filter((i) => i !== own);
  return others.length === 1 ? `${match[1]}[${others[0]}].${match[2]}` : path;
}
