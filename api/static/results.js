// What the models say of the scene: bars a person, what moved them, and the models side by side.

import { $, h, post } from "./dom.js";
import { fieldOf, scene } from "./form.js";
import { number, risk, say, t } from "./texts.js";

const ORDER = ["unharmed", "light", "hospitalised", "killed"];
const SHOWN_EFFECTS = 8;
let asked = null;
let explainedRow = {};
let explained = null; // position of the person; null for the one worst off

export async function predict(models) {
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  markFields([]);
  try {
    if (explained !== null && explained >= scene.people.length) explained = null;
    const person = explained === null ? "" : `?person=${explained}`;
    const [answer, effects] = await Promise.all([post("/api/v1/predict", scene, signal), post(`/api/v1/explain${person}`, scene, signal)]);
    const compared = $("#compare")?.open ? await compare(models, signal) : null;
    show(null);
    draw(answer, effects, compared, models);
  } catch (error) {
    if (error.name === "AbortError") return;
    show(error);
  }
}

function show(error) {
  const box = $("#error");
  box.hidden = !error;
  $("#answer").classList.toggle("stale", Boolean(error)); // what stands there answers an earlier scene
  if (!error) return;
  box.replaceChildren(...said(error));
  markFields(error.errors ?? []);
}

// The API speaks English, whatever language the page is in.
export function said(error) {
  if (error instanceof TypeError) return [t("offline")];
  const defects = error.errors ?? [];
  const told = defects.length ? h("ul", {}, ...defects.map((each) => h("li", {}, h("strong", {}, named(each.field)), " ", h("span", { lang: "en" }, each.message)))) : h("span", { lang: "en" }, error.message);
  return [t("inEnglish"), told];
}

function markFields(defects) {
  for (const each of document.querySelectorAll("#scene [aria-invalid]")) each.removeAttribute("aria-invalid");
  for (const { field } of defects) document.getElementById(field.replace(/\[(\d+)\]\.?/g, "-$1-").replace(".", "-"))?.setAttribute("aria-invalid", "true");
}

function draw(answer, effects, compared, models) {
  const [told] = answer.scenes;
  $("#generated").hidden = !answer.model.sample;
  $("#summary").replaceChildren(`${t("person")} ${told.worst.person + 1} · `, h("strong", {}, `${t("severe")} ${risk(told.worst.severe_probability)}`));
  $("#answer").replaceChildren(
    h("h2", {}, t("results")),
    h("p", { class: "expected" }, `${t("expected")} `, ...ORDER.slice().reverse().map((name) => h("span", { class: `chip ${name}` }, `${t(name)} ${number(told.expected[name], 1)}`))),
    ...told.people.map((person) => drawPerson(person, told, effects, models)),
    h("details", { id: "compare", class: "card", open: compared !== null, ontoggle: (event) => { if (event.target.open && !event.target.querySelector("table")) predict(models); } },
      h("summary", {}, t("compare")), compared && drawCompared(compared)),
  );
}

function drawPerson(person, told, effects, models) {
  const own = scene.people[person.person];
  const kind = fieldOf("people", "catu").codes.find((code) => code.code === own.catu);
  const title = [`${t("person")} ${person.person + 1}`, kind && say(kind).toLowerCase(), person.vehicle && `${t("vehicle").toLowerCase()} ${person.vehicle}`].filter(Boolean).join(" · ");
  return h("article", { class: `card person${person.person === told.worst.person ? " worst" : ""}` },
    h("header", {}, h("h3", {}, title),
      h("span", { class: `chip ${person.severe ? "killed" : "unharmed"}`, title: t("severeProbability") }, `${t("severe")} ${risk(person.severe_probability)}`),
      person.person === told.worst.person && told.people.length > 1 && h("span", { class: "chip plain" }, t("worst"))),
    h("dl", { class: "bars" }, ...ORDER.map((name) => h("div", {}, h("dt", {}, t(name)), h("dd", {}, bar(person.probabilities[name], name), h("span", { class: "share" }, risk(person.probabilities[name])))))),
    effects.person === person.person ? drawEffects(effects)
      : h("button", { type: "button", class: "why", onclick: async () => { explained = person.person; await predict(models); $(".effects h4")?.focus(); } }, t("why")));
}

function bar(share, name) {
  const filled = h("span", { class: name });
  filled.style.width = `${(100 * share).toFixed(2)}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, filled);
}

function drawEffects({ person, fields }) {
  explainedRow = { people: person, vehicles: scene.vehicles.findIndex((vehicle) => vehicle.id === scene.people[person].vehicle) };
  const shown = fields.slice(0, SHOWN_EFFECTS);
  const most = Math.max(0.01, ...shown.map((each) => Math.abs(each.severe_change)));
  return h("section", { class: "effects" }, h("h4", { tabindex: "-1" }, t("whyTitle")), h("p", { class: "help" }, t("whyHelp")),
    h("ol", {}, ...shown.map((each) => {
      const up = each.severe_change >= 0;
      const filled = h("span", { class: up ? "up" : "down" });
      filled.style.width = `${(50 * Math.abs(each.severe_change)) / most}%`;
      return h("li", {}, h("span", { class: "name" }, named(single(each.field)), h("em", {}, valueOf(single(each.field)))),
        h("span", { class: "both", "aria-hidden": "true" }, filled),
        h("span", { class: "share" }, `${up ? "+" : "−"}${number(100 * Math.abs(each.severe_change), 1)} `, h("span", { class: "hidden" }, `${t("points")}, ${up ? t("raises") : t("lowers")}`)));
    })));
}

function parts(path) {
  const found = /^(accident|vehicles|people)(?:\[(\w+)\])?\.(\w+)$/.exec(path);
  return found && { part: found[1], row: found[2], name: found[3] };
}

// The others are named when there is only one of them.
function single(path) {
  const found = /^(vehicles|people)\[others\]\.(\w+)$/.exec(path);
  if (!found || explainedRow[found[1]] === undefined) return path;
  const others = scene[found[1]].map((_, i) => i).filter((i) => i !== explainedRow[found[1]]);
  return others.length === 1 ? `${found[1]}[${others[0]}].${found[2]}` : path;
}

function named(path) {
  const found = parts(path);
  const told = found && (found.name === "vehicle" ? { label: { fr: t("theirVehicle"), en: t("theirVehicle") } } : fieldOf(found.part, found.name));
  if (!told) return path;
  if (found.part === "accident") return say(told.label);
  if (found.row === "others") return `${t(found.part === "vehicles" ? "otherVehicles" : "otherPeople")} · ${say(told.label)}`;
  const whose = found.part === "vehicles" ? `${t("vehicle")} ${scene.vehicles[found.row]?.id}` : `${t("person")} ${Number(found.row) + 1}`;
  return `${whose} · ${say(told.label)}`;
}

function valueOf(path) {
  const found = parts(path);
  if (!found || found.row === "others") return "";
  const value = found.part === "accident" ? scene.accident[found.name] : scene[found.part][found.row][found.name];
  const told = fieldOf(found.part, found.name);
  const code = told.codes.find((each) => each.code === value);
  if (told.type === "time") return ` ${scene.accident.hrmn}`;
  if (told.type === "department") return ` ${scene.accident.dep}`;
  return ` ${code ? say(code) : value}`;
}

async function compare(models, signal) {
  return Promise.all(models.map(async (model) => ({ model, answer: await post(`/api/v1/predict/${model.name}`, scene, signal) })));
}

function drawCompared(compared) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": t("compare") }, h("table", {}, h("caption", {}, t("severeProbability")),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("model")), ...scene.people.map((_, i) => h("th", { scope: "col" }, `${t("person")} ${i + 1}`)))),
    h("tbody", {}, ...compared.map(({ model, answer }) => h("tr", {}, h("th", { scope: "row" }, model.trained_as, h("small", {}, model.best ? ` ${t("production")}` : ` v${model.version}`)),
      ...answer.scenes[0].people.map((person) => h("td", {}, bar(person.severe_probability, person.severe ? "killed" : "light"), `${risk(person.severe_probability)} `, h("small", {}, t(person.class)))))))));
}
