// The scene as a form: fields come from /api/v1/features, values live in `scene`.

import { $, ask, h } from "./dom.js";
import { language, say, t } from "./texts.js";

const SHOWN = {
  accident: ["hrmn", "agg", "catr", "vma", "col", "int", "lum", "atm", "surf"],
  vehicles: ["catv", "choc", "manv"],
  people: ["catu", "place", "sexe", "an_nais", "secu1"],
};
const OVERSEAS = { 971: "Guadeloupe", 972: "Martinique", 973: "Guyane", 974: "La Réunion", 976: "Mayotte" };
const APART = new Set(["an", "mois", "jour", "dep"]); // the date and the map stand for them

const EXAMPLE = {
  accident: { an: 2024, mois: 11, jour: 16, hrmn: "18:40", dep: "59", agg: 1, lum: 3, atm: 2, int: 1, col: 1, catr: 3, circ: 2, nbv: 2, surf: 2, vma: 80 },
  vehicles: [{ id: "A", catv: 7, choc: 1, manv: 1 }, { id: "B", catv: 33, choc: 1, manv: 17 }],
  people: [{ vehicle: "A", place: 1, catu: 1, sexe: 1, an_nais: 1980, secu1: 1 }, { vehicle: "B", place: 1, catu: 1, sexe: 1, an_nais: 1998, secu1: 2 }],
};

export const scene = structuredClone(EXAMPLE);
let fields = [];
let outlines = null;
let changed = () => {};

export const fieldOf = (part, name) => fields.find((field) => field.part === part && field.name === name);

export async function start(onChange) {
  changed = onChange;
  [fields, outlines] = await Promise.all([
    ask("/api/v1/features").then((answer) => answer.json()).then((told) => told.fields),
    ask("/static/departments.json").then((answer) => answer.json()),
  ]);
  $("#add-vehicle").addEventListener("click", () => addVehicle());
  $("#add-person").addEventListener("click", () => addPerson());
  $("#example").addEventListener("click", () => replace(structuredClone(EXAMPLE)));
  $("#clear").addEventListener("click", () => replace({ accident: now(), vehicles: [], people: [{ catu: 1 }] }));
  draw();
}

// Most scenes are of this moment; without a date nobody has an age.
function now() {
  const at = new Date();
  const two = (value) => String(value).padStart(2, "0");
  return { an: at.getFullYear(), mois: at.getMonth() + 1, jour: at.getDate(), hrmn: `${two(at.getHours())}:${two(at.getMinutes())}` };
}

export function draw() {
  drawAccident();
  drawRows();
}

function replace(other) {
  Object.assign(scene, other);
  draw();
  changed();
}

function addVehicle() {
  const taken = new Set(scene.vehicles.map((vehicle) => vehicle.id));
  const id = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"].find((letter) => !taken.has(letter)) ?? `V${scene.vehicles.length + 1}`;
  scene.vehicles.push({ id, catv: 7 });
  drawRows();
  changed();
  $(`#vehicles-${scene.vehicles.length - 1}-catv`).focus();
}

function addPerson() {
  const vehicle = scene.vehicles.at(-1)?.id;
  const driven = scene.people.some((person) => person.vehicle === vehicle && person.catu === 1);
  scene.people.push(vehicle ? { vehicle, catu: driven ? 2 : 1 } : { catu: 3 });
  drawRows();
  changed();
  $(`#people-${scene.people.length - 1}-vehicle`).focus();
}

function drawAccident() {
  const body = $("#accident");
  const date = h("input", { type: "date", id: "date", min: "2005-01-01", max: "2099-12-31", value: dateOf(scene.accident), onchange: (event) => setDate(event.target.value) });
  body.replaceChildren(
    h("legend", {}, h("h2", {}, t("accident"))),
    h("div", { class: "place" }, drawMap(),
      h("div", { class: "fields" }, field("accident", fieldOf("accident", "dep"), scene.accident, "accident"), labelled(t("date"), date),
        ...grid("accident", scene.accident, "accident", true))),
    extra("accident", scene.accident, "accident"),
  );
}

function drawRows() {
  $("#vehicles").replaceChildren(...scene.vehicles.map((vehicle, i) => card(`${t("vehicle")} ${vehicle.id}`, "vehicles", vehicle, i, () => {
    scene.vehicles.splice(i, 1);
    for (const person of scene.people) if (person.vehicle === vehicle.id) delete person.vehicle;
  })));
  $("#people").replaceChildren(...scene.people.map((person, i) => card(`${t("person")} ${i + 1}`, "people", person, i, scene.people.length > 1 && (() => scene.people.splice(i, 1)))));
}

function card(title, part, values, i, remove) {
  const prefix = `${part}-${i}`;
  return h("fieldset", { class: `card ${part}` }, h("legend", {}, h("h2", {}, title)),
    remove && h("button", { type: "button", class: "remove", "aria-label": `${t("remove")} : ${title}`, onclick: () => { remove(); drawRows(); changed(); $(`#add-${part === "people" ? "person" : "vehicle"}`).focus(); } }, "×"),
    h("div", { class: "fields" }, part === "people" && vehicleOf(values, prefix), ...grid(part, values, prefix, true)), extra(part, values, prefix));
}

function vehicleOf(person, prefix) {
  const select = h("select", { id: `${prefix}-vehicle`, onchange: (event) => { set(person, "vehicle", event.target.value); } },
    h("option", { value: "" }, t("noVehicle")),
    ...scene.vehicles.map((vehicle) => h("option", { value: vehicle.id, selected: vehicle.id === person.vehicle }, vehicle.id)));
  return labelled(person.catu === 3 ? t("hitBy") : t("theirVehicle"), select);
}

const grid = (part, values, prefix, shown) =>
  fields.filter((each) => each.part === part && !APART.has(each.name) && SHOWN[part].includes(each.name) === shown)
    .sort((a, b) => (shown ? SHOWN[part].indexOf(a.name) - SHOWN[part].indexOf(b.name) : 0))
    .map((each) => field(part, each, values, prefix));

function extra(part, values, prefix) {
  const rest = grid(part, values, prefix, false);
  const given = fields.some((each) => each.part === part && !APART.has(each.name) && !SHOWN[part].includes(each.name) && values[each.name] !== undefined);
  return h("details", { open: given && part !== "accident" }, h("summary", {}, t("more")), h("div", { class: "fields" }, ...rest));
}

function labelled(text, control) {
  return h("label", { class: "field", for: control.id }, h("span", {}, text), control);
}

function field(part, told, values, prefix) {
  const id = `${prefix}-${told.name}`;
  const unit = told.unit && !["year", "month", "day"].includes(told.unit) ? ` (${told.unit})` : "";
  return labelled(say(told.label) + unit, control(part, told, values, id));
}

function control(part, told, values, id) {
  const value = values[told.name];
  const read = (input) => set(values, told.name, input.value === "" ? "" : input.valueAsNumber);
  if (told.type === "code") {
    return h("select", { id, onchange: (event) => { set(values, told.name, event.target.value === "" ? "" : Number(event.target.value)); if (told.name === "catu") drawRowsKeeping(id); } },
      h("option", { value: "" }, `— ${t("unknown")}`),
      ...told.codes.map((code) => h("option", { value: code.code, selected: code.code === value }, say(code))));
  }
  if (told.type === "department") {
    return h("select", { id, onchange: (event) => choose(event.target.value) },
      h("option", { value: "" }, `— ${t("unknown")}`),
      ...told.codes.map((code) => h("option", { value: code.code, selected: code.code === value }, `${code.code} ${say(code)}`)));
  }
  if (told.type === "time") return h("input", { type: "time", id, value, onchange: (event) => set(values, told.name, event.target.value.slice(0, 5)) });
  return h("input", { type: "number", id, value, min: told.low, max: told.high, step: told.type === "integer" ? 1 : "any", inputmode: "decimal",
    // While a year is typed, its first digits are no defect yet.
    oninput: (event) => { if (event.target.checkValidity()) read(event.target); }, onchange: (event) => read(event.target) });
}

function drawRowsKeeping(id) {
  drawRows();
  document.getElementById(id)?.focus();
}

function set(values, name, value) {
  if (value === "") delete values[name];
  else values[name] = value;
  changed();
}

const dateOf = ({ an, mois, jour }) => (an && mois && jour ? `${an}-${String(mois).padStart(2, "0")}-${String(jour).padStart(2, "0")}` : "");

function setDate(text) {
  const [an, mois, jour] = text ? text.split("-").map(Number) : ["", "", ""];
  for (const [name, value] of Object.entries({ an, mois, jour })) set(scene.accident, name, value);
}

function drawMap() {
  const map = h("svg:svg", { viewBox: outlines.viewBox, role: "img", "aria-label": t("map"), class: "map" },
    ...outlines.departments.map((each) => h("svg:path", { d: each.path, "data-department": each.id, onclick: () => choose(each.id) }, h("svg:title", {}, nameOf(each.id)))));
  const overseas = h("div", { class: "overseas", role: "group", "aria-label": t("overseas") },
    ...Object.entries(OVERSEAS).map(([id, name]) => h("button", { type: "button", "data-department": id, onclick: () => choose(id) }, name)));
  const made = h("div", { class: "where" }, map, overseas);
  mark(made);
  return made;
}

function nameOf(id) {
  const code = fieldOf("accident", "dep").codes.find((each) => each.code === id);
  return code ? `${id} ${code[language]}` : id;
}

function choose(id) {
  set(scene.accident, "dep", id);
  const select = $("#accident-dep");
  if (select) select.value = id;
  mark($(".where"));
}

function mark(where) {
  for (const each of where.querySelectorAll("[data-department]")) {
    const chosen = each.dataset.department === scene.accident.dep;
    each.classList.toggle("chosen", chosen);
    if (each.tagName === "BUTTON") each.setAttribute("aria-pressed", chosen);
  }
}
