// What people read for a path such as people[0].secu1, and for the value that stands there.

import { communeName } from "./place.js";
import { fieldOf, scene } from "./scene.js";
import { say, t } from "./texts.js";

function parts(path) {
  const match = /^(accident|vehicles|people)(?:\[(\w+)\])?\.(\w+)$/.exec(path);
  return match && { part: match[1], row: match[2], name: match[3] };
}

export function nameOf(path) {
  if (path === "body") return t("wholeScene");
  const place = parts(path);
  const label = place && (place.name === "vehicle" ? t("theirVehicle") : labelOf(place));
  if (!label) return path;
  if (place.part === "accident" || place.row === undefined) return label;
  if (place.row === "others") return `${t(place.part === "vehicles" ? "otherVehicles" : "otherPeople")} · ${label}`;
  return `${whose(place.part, place.row)} · ${label}`;
}

function labelOf({ part, name }) {
  const field = fieldOf(part, name);
  return field && (field.type === "commune" ? t("commune") : say(field.label));
}

export const whose = (part, row) =>
  part === "vehicles" ? `${t("vehicle")} ${scene.vehicles[row]?.id}` : `${t("person")} ${Number(row) + 1}`;

export function givenAt(path) {
  const place = parts(path);
  const field = place && fieldOf(place.part, place.name);
  if (!field || place.row === "others") return "";
  const value = place.part === "accident" ? scene.accident[place.name] : scene[place.part][place.row]?.[place.name];
  if (field.type === "commune") return communeName();
  const code = field.type === "code" && field.codes.find((each) => each.code === value);
  return String((code ? say(code) : value) ?? "");
}
