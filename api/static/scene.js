// The scene that is described, and what the API says its fields are.

import { ask } from "./dom.js";

const EXAMPLE = {
  accident: {
    an: 2024,
    mois: 11,
    jour: 16,
    hrmn: "18:40",
    dep: "59",
    agg: 1,
    lum: 3,
    atm: 2,
    int: 1,
    col: 1,
    catr: 3,
    circ: 2,
    nbv: 2,
    surf: 2,
    vma: 80,
  },
  vehicles: [
    { id: "A", catv: 7, choc: 1, manv: 1 },
    { id: "B", catv: 33, choc: 1, manv: 17 },
  ],
  people: [
    { vehicle: "A", place: 1, catu: 1, sexe: 1, an_nais: 1980, secu1: 1 },
    { vehicle: "B", place: 1, catu: 1, sexe: 1, an_nais: 1998, secu1: 2 },
  ],
};

export const scene = structuredClone(EXAMPLE);
export let fields = [];
export let levels = [];
let listener = () => {};

export const fieldOf = (part, name) => fields.find((field) => field.part === part && field.name === name);
export const changed = () => listener();

export async function load(onChange) {
  listener = onChange;
  const known = await ask("/api/v1/features").then((answer) => answer.json());
  fields = known.fields;
  levels = known.levels ?? [];
}

export function replace(other) {
  Object.assign(scene, other);
}

export const example = () => structuredClone(EXAMPLE);

// Most scenes are of this moment; without a date nobody has an age.
export function empty() {
  const at = new Date();
  const two = (value) => String(value).padStart(2, "0");
  const accident = {
    an: at.getFullYear(),
    mois: at.getMonth() + 1,
    jour: at.getDate(),
    hrmn: `${two(at.getHours())}:${two(at.getMinutes())}`,
  };
  return { accident, vehicles: [], people: [{ catu: 1 }] };
}

export function set(values, name, value) {
  if (value === "") delete values[name];
  else values[name] = value;
  changed();
}

export const isEmpty = () => scene.vehicles.length === 0 && scene.people.length === 0;

// The scene as it is sent: one coordinate alone is no position, and is kept for when the other one comes.
export function payload() {
  const { lat, long, ...accident } = scene.accident;
  return { ...scene, accident: lat === undefined || long === undefined ? accident : { ...accident, lat, long } };
}
