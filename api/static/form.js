// The scene as a form: fields come from /api/v1/features, values live in `scene`.

import { $, h } from "./dom.js";
import * as place from "./place.js";
import { changed, empty, example, fieldOf, fields, load, replace, scene, set } from "./scene.js";
import { say, t } from "./texts.js";

const SHOWN = {
  accident: ["hrmn", "agg", "catr", "vma", "col", "int", "lum", "atm", "surf"],
  vehicles: ["catv", "choc", "manv"],
  people: ["catu", "place", "sexe", "an_nais", "secu1"],
};
const DATE = new Set(["an", "mois", "jour"]); // one input stands for them
const APART = new Set([...DATE, "dep", "com"]); // beside the map
const ADD = { vehicles: "#add-vehicle", people: "#add-person" };

export async function start(onChange) {
  await Promise.all([load(onChange), place.load()]);
  $("#add-vehicle").addEventListener("click", addVehicle);
  $("#add-person").addEventListener("click", addPerson);
  $("#example").addEventListener("click", () => begin(example()));
  $("#clear").addEventListener("click", () => begin(empty()));
  draw();
}

export function draw() {
  drawAccident();
  drawRows();
}

function begin(other) {
  replace(other);
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

// Lead to the control of a field, such as accident.com, or people.secu1 of the first person who has none.
export function reveal(path) {
  const control = controlOf(path);
  const details = control.closest("details");
  if (details) details.open = true;
  control.focus({ preventScroll: true });
  control.scrollIntoView({ block: "center" });
}

function controlOf(path) {
  const [part, name] = path.split(".");
  if (part === "accident") return $(DATE.has(name) ? "#date" : `#accident-${name}`);
  return (name && $(`#${part}-${firstWithout(part, name)}-${name}`)) || $(ADD[part]);
}

export const firstWithout = (part, name) =>
  Math.max(
    0,
    scene[part].findIndex((values) => values[name] === undefined),
  );

function drawAccident() {
  const date = h("input", {
    type: "date",
    id: "date",
    min: "2005-01-01",
    max: "2099-12-31",
    value: dateOf(scene.accident),
    onchange: (event) => setDate(event.target.value),
  });
  $("#accident").replaceChildren(
    h("legend", {}, h("h2", {}, t("accident"))),
    h(
      "div",
      { class: "place" },
      place.drawMap(),
      h(
        "div",
        { class: "fields" },
        field(fieldOf("accident", "dep"), scene.accident, "accident"),
        fieldOf("accident", "com") && place.drawCommune(),
        labelled(t("date"), date),
        ...grid("accident", scene.accident, "accident", true),
      ),
    ),
    extra("accident", scene.accident, "accident"),
  );
}

function drawRows() {
  $("#vehicles").replaceChildren(
    ...scene.vehicles.map((vehicle, i) => card(`${t("vehicle")} ${vehicle.id}`, "vehicles", vehicle, i)),
  );
  $("#people").replaceChildren(
    ...scene.people.map((person, i) => card(`${t("person")} ${i + 1}`, "people", person, i)),
  );
}

function remove(part, i) {
  const [row] = scene[part].splice(i, 1);
  for (const person of part === "vehicles" ? scene.people : []) if (person.vehicle === row.id) delete person.vehicle;
  drawRows();
  changed();
  $(ADD[part]).focus();
}

function card(title, part, values, i) {
  const prefix = `${part}-${i}`;
  return h(
    "fieldset",
    { class: `card ${part}` },
    h("legend", {}, h("h2", {}, title)),
    h(
      "button",
      { type: "button", class: "remove", "aria-label": t("remove")(title), onclick: () => remove(part, i) },
      "×",
    ),
    h("div", { class: "fields" }, part === "people" && vehicleOf(values, prefix), ...grid(part, values, prefix, true)),
    extra(part, values, prefix),
  );
}

function vehicleOf(person, prefix) {
  const select = h(
    "select",
    {
      id: `${prefix}-vehicle`,
      onchange: (event) => {
        set(person, "vehicle", event.target.value);
      },
    },
    h("option", { value: "" }, t("noVehicle")),
    ...scene.vehicles.map((vehicle) =>
      h("option", { value: vehicle.id, selected: vehicle.id === person.vehicle }, vehicle.id),
    ),
  );
  return labelled(person.catu === 3 ? t("hitBy") : t("theirVehicle"), select);
}

const grid = (part, values, prefix, shown) =>
  fields
    .filter((each) => each.part === part && !APART.has(each.name) && SHOWN[part].includes(each.name) === shown)
    .sort((a, b) => (shown ? SHOWN[part].indexOf(a.name) - SHOWN[part].indexOf(b.name) : 0))
    .map((each) => field(each, values, prefix));

function extra(part, values, prefix) {
  const rest = grid(part, values, prefix, false);
  const given = fields.some(
    (each) =>
      each.part === part &&
      !APART.has(each.name) &&
      !SHOWN[part].includes(each.name) &&
      values[each.name] !== undefined,
  );
  return h(
    "details",
    { open: given && part !== "accident" },
    h("summary", {}, t("more")),
    h("div", { class: "fields" }, ...rest),
  );
}

function labelled(text, control) {
  return h("label", { class: "field", for: control.id }, h("span", {}, text), control);
}

function field(described, values, prefix) {
  const id = `${prefix}-${described.name}`;
  const unit = described.unit && !["year", "month", "day"].includes(described.unit) ? ` (${described.unit})` : "";
  return labelled(say(described.label) + unit, control(described, values, id));
}

function control(described, values, id) {
  const value = values[described.name];
  if (described.type === "code") return codes(described, value, id, (code) => setCode(described, values, code, id));
  if (described.type === "department") return codes(described, value, id, place.chooseDepartment);
  if (described.type === "time")
    return h("input", {
      type: "time",
      id,
      value,
      onchange: (event) => set(values, described.name, event.target.value.slice(0, 5)),
    });
  const read = (input) => set(values, described.name, input.value === "" ? "" : input.valueAsNumber);
  return h("input", {
    type: "number",
    id,
    value,
    min: described.low,
    max: described.high,
    step: described.type === "integer" ? 1 : "any",
    inputmode: "decimal",
    // While a year is typed, its first digits are no defect yet.
    oninput: (event) => {
      if (event.target.checkValidity()) read(event.target);
    },
    onchange: (event) => read(event.target),
  });
}

function codes(described, value, id, choose) {
  const named = (code) => (described.type === "department" ? `${code.code} ${say(code)}` : say(code));
  return h(
    "select",
    { id, onchange: (event) => choose(event.target.value) },
    h("option", { value: "" }, `— ${t("unknown")}`),
    ...described.codes.map((code) => h("option", { value: code.code, selected: code.code === value }, named(code))),
  );
}

function setCode(described, values, code, id) {
  set(values, described.name, code === "" ? "" : Number(code));
  if (described.name !== "catu") return;
  drawRows(); // another question is asked of people on foot
  document.getElementById(id)?.focus();
}

const dateOf = ({ an, mois, jour }) =>
  an && mois && jour ? `${an}-${String(mois).padStart(2, "0")}-${String(jour).padStart(2, "0")}` : "";

function setDate(text) {
  const [an, mois, jour] = text ? text.split("-").map(Number) : ["", "", ""];
  for (const [name, value] of Object.entries({ an, mois, jour })) set(scene.accident, name, value);
}
