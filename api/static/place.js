// Where it happened: the map of the départements and the commune.

import { combobox } from "./combobox.js";
import { $, ask, h } from "./dom.js";
import { changed, fieldOf, scene } from "./scene.js";
import { language, t } from "./texts.js";

const OVERSEAS = { 971: "Guadeloupe", 972: "Martinique", 973: "Guyane", 974: "La Réunion", 976: "Mayotte" };
const MOST_COMMUNES = 8;
const LONGEST_NAME = 60;
let outlines = null;
let commune = null; // the chosen one, as the API describes it
let box = null;

export async function load() {
  outlines = await ask("/static/departments.json").then((answer) => answer.json());
}

export const communeName = () => (commune ? `${commune.name} (${commune.department})` : (scene.accident.com ?? ""));

export function drawMap() {
  const map = h(
    "svg:svg",
    { viewBox: outlines.viewBox, role: "img", "aria-label": t("map"), class: "map" },
    ...outlines.departments.map((each) =>
      h(
        "svg:path",
        { d: each.path, "data-department": each.id, onclick: () => chooseDepartment(each.id) },
        h("svg:title", {}, nameOf(each.id)),
      ),
    ),
    h("svg:circle", { class: "spot", r: 9, visibility: "hidden" }),
  );
  const overseas = h(
    "div",
    { class: "overseas", role: "group", "aria-label": t("overseas") },
    ...Object.entries(OVERSEAS).map(([id, name]) =>
      h("button", { type: "button", "data-department": id, onclick: () => chooseDepartment(id) }, name),
    ),
  );
  const drawn = h("div", { class: "where" }, map, overseas);
  mark(drawn);
  return drawn;
}

export function drawCommune() {
  if (!scene.accident.com || scene.accident.com !== commune?.code) commune = null;
  const choose = (chosen) => {
    commune = chosen;
    Object.assign(scene.accident, { com: chosen.code, dep: chosen.department });
    placeChanged();
  };
  box = combobox({
    id: "accident-com",
    label: t("commune"),
    longest: LONGEST_NAME,
    shown: communeName(),
    find: findCommunes,
    choose,
    clear: () => {
      dropCommune();
      placeChanged();
    },
    say: hint,
  });
  return box.element;
}

async function findCommunes(name) {
  const asked = new URLSearchParams({ name, limit: MOST_COMMUNES });
  if (scene.accident.dep) asked.set("department", scene.accident.dep);
  const communes = await ask(`/api/v1/communes?${asked}`).then((answer) => answer.json());
  return communes.map((each) => ({
    value: each,
    text: each.name,
    shown: `${each.name} (${each.department})`,
    note: nameOf(each.department),
  }));
}

function hint(what, count) {
  const dep = scene.accident.dep;
  return {
    found: () => t("communesFound")(count),
    none: () => t("communeNone")(dep && nameOf(dep)),
    pick: () => t("communePick"),
    offline: () => t("offline"),
  }[what]();
}

export function chooseDepartment(id) {
  if (id) scene.accident.dep = id;
  else delete scene.accident.dep;
  if (scene.accident.com && commune?.department !== id) {
    dropCommune();
    box?.forget();
  }
  placeChanged();
}

function dropCommune() {
  commune = null;
  delete scene.accident.com;
}

function placeChanged() {
  $("#accident-dep").value = scene.accident.dep ?? "";
  mark($(".where"));
  changed();
}

function nameOf(id) {
  const code = fieldOf("accident", "dep").codes.find((each) => each.code === id);
  return code ? `${id} ${code[language]}` : id;
}

function mark(where) {
  for (const each of where.querySelectorAll("[data-department]")) {
    const chosen = each.dataset.department === scene.accident.dep;
    each.classList.toggle("chosen", chosen);
    if (each.tagName === "BUTTON") each.setAttribute("aria-pressed", chosen);
  }
  markCommune(where.querySelector(".spot"));
}

function markCommune(spot) {
  const drawn = commune?.lat != null && outlines.departments.some((each) => each.id === commune.department);
  spot.setAttribute("visibility", drawn ? "visible" : "hidden");
  if (!drawn) return;
  const [x, y] = onMap(commune.lat, commune.long);
  spot.setAttribute("cx", x);
  spot.setAttribute("cy", y);
}

// The outlines are in Mercator's projection: fitted on the ends of France, from Ushant to Cap Corse, to 4 km.
function onMap(lat, long) {
  const degrees = (180 / Math.PI) * Math.log(Math.tan(Math.PI / 4 + (lat * Math.PI) / 360));
  return [214.83 + 41.572 * long, 2465.15 - 41.34 * degrees];
}
