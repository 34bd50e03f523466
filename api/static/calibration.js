// A calibration plot: what was predicted against what came true. On the diagonal both are the same.

import { h } from "./dom.js";
import { number, percent, t } from "./texts.js";

const SIZE = 300;
const LEFT = 62;
const TOP = 12;
const TICKS = [0, 0.25, 0.5, 0.75, 1];
const x = (share) => LEFT + SIZE * share;
const y = (share) => TOP + SIZE * (1 - share);

/* `bins` are triples: mean probability of severe, share that was, people. */
export function drawCalibration(bins) {
  return h(
    "svg:svg",
    {
      viewBox: `0 0 ${LEFT + SIZE + 22} ${TOP + SIZE + 56}`,
      class: "plot",
      role: "img",
      "aria-labelledby": "plot-title plot-text",
    },
    h("svg:title", { id: "plot-title" }, t("calibration")),
    h("svg:desc", { id: "plot-text" }, bins.map(words).join(" ")),
    ...TICKS.flatMap(drawTick),
    h("svg:line", { class: "diagonal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    h("svg:polyline", {
      class: "curve",
      points: bins.map(([predicted, was]) => `${x(predicted)},${y(was)}`).join(" "),
    }),
    ...bins.map((bin) =>
      h("svg:circle", { class: "point", cx: x(bin[0]), cy: y(bin[1]), r: 4.5 }, h("svg:title", {}, words(bin))),
    ),
    h("svg:text", { class: "axis", x: x(0.5), y: TOP + SIZE + 48, "text-anchor": "middle" }, t("predictedAxis")),
    h(
      "svg:text",
      { class: "axis", transform: `translate(14 ${y(0.5)}) rotate(-90)`, "text-anchor": "middle" },
      t("trueAxis"),
    ),
  );
}

const words = ([predicted, was, people]) => t("calibrationBin")(percent(predicted, 1), percent(was, 1), number(people));

function drawTick(share) {
  return [
    h("svg:line", { class: "grid", x1: x(share), y1: y(0), x2: x(share), y2: y(1) }),
    h("svg:line", { class: "grid", x1: x(0), y1: y(share), x2: x(1), y2: y(share) }),
    h("svg:text", { x: x(share), y: y(0) + 20, "text-anchor": "middle" }, percent(share)),
    h("svg:text", { x: x(0) - 8, y: y(share) + 5, "text-anchor": "end" }, percent(share)),
  ];
}
