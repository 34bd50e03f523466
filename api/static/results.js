// What the models say of the scene: the accident, its people, and the models side by side.

import { drawDecision, verdict } from "./decision.js";
import { $, h, post } from "./dom.js";
import { nameOf } from "./names.js";
import { bar, drawPeople } from "./people.js";
import { isEmpty, payload, scene } from "./scene.js";
import { risk, t } from "./texts.js";

let asked = null;
let explained = null; // position of the person; null for the one worst off

export async function predict(models) {
  asked?.abort();
  asked = new AbortController();
  markFields([]);
  if (isEmpty()) return invite();
  try {
    const answers = await question(models, asked.signal);
    show(null);
    draw(...answers, models);
  } catch (error) {
    if (error.name === "AbortError") return;
    show(error);
  }
}

async function question(models, signal) {
  const sent = payload();
  if (explained >= (scene.people.length || scene.vehicles.length)) explained = null; // without people, each vehicle has its driver
  const person = explained === null ? "" : `?person=${explained}`;
  const answers = await Promise.all([
    post("/api/v1/predict", sent, signal),
    post(`/api/v1/explain${person}`, sent, signal),
  ]);
  return [...answers, $("#compare")?.open ? await compare(models, sent, signal) : null];
}

function invite() {
  show(null);
  $("#summary").replaceChildren();
  const add = (name, id) => h("button", { type: "button", onclick: () => $(id).click() }, t(name));
  $("#answer").replaceChildren(
    h("h2", {}, t("results")),
    h(
      "div",
      { class: "card invitation" },
      h("p", {}, t("nothingYet")),
      add("addVehicle", "#add-vehicle"),
      add("addPerson", "#add-person"),
    ),
  );
}

function show(error) {
  const box = $("#error");
  box.hidden = !error;
  $("#answer").classList.toggle("stale", Boolean(error)); // what stands there answers an earlier scene
  if (!error) return;
  box.replaceChildren(...explainError(error));
  markFields(error.errors ?? []);
}

// The API speaks English, whatever language the page is in.
export function explainError(error) {
  if (error instanceof TypeError) return [t("offline")];
  const defects = error.errors ?? [];
  const text = defects.length
    ? h(
        "ul",
        {},
        ...defects.map((each) =>
          h("li", {}, h("strong", {}, nameOf(each.field)), " ", h("span", { lang: "en" }, each.message)),
        ),
      )
    : h("span", { lang: "en" }, error.message);
  return [t("inEnglish"), text];
}

function markFields(defects) {
  for (const each of document.querySelectorAll("#scene [aria-invalid]")) each.removeAttribute("aria-invalid");
  for (const { field } of defects)
    document
      .getElementById(field.replace(/\[(\d+)\]\.?/g, "-$1-").replace(".", "-"))
      ?.setAttribute("aria-invalid", "true");
}

function draw(prediction, effects, compared, models) {
  const [answer] = prediction.scenes;
  const why = async (person) => {
    explained = person;
    await predict(models);
    $(".effects h4")?.focus();
  };
  $("#generated").hidden = !prediction.model.sample;
  $("#summary").replaceChildren(
    h("strong", {}, verdict(answer)),
    ` · ${t("somebodySevere")} `,
    h("strong", {}, risk(answer.p_any_severe)),
  );
  $("#answer").replaceChildren(
    h("h2", {}, t("results")),
    drawDecision(answer),
    ...drawPeople(answer, effects, why),
    drawComparison(compared, models),
  );
}

async function compare(models, sent, signal) {
  return Promise.all(
    models.map(async (model) => ({
      model,
      answer: (await post(`/api/v1/predict/${model.name}`, sent, signal)).scenes[0],
    })),
  );
}

function drawComparison(compared, models) {
  const ask = (event) => {
    if (event.target.open && !event.target.querySelector("table")) predict(models);
  };
  return h(
    "details",
    { id: "compare", class: "card", open: compared !== null, ontoggle: ask },
    h("summary", {}, t("compare")),
    compared && drawCompared(compared),
  );
}

function drawCompared(compared) {
  const columns = [
    t("model"),
    t("accidentColumn"),
    ...compared[0].answer.people.map((each) => `${t("person")} ${each.person + 1}`),
  ];
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": t("compare") },
    h(
      "table",
      {},
      h("caption", {}, t("severeProbability")),
      h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, name)))),
      h(
        "tbody",
        {},
        ...compared.map(({ model, answer }) =>
          h(
            "tr",
            {},
            h(
              "th",
              { scope: "row" },
              model.trained_as,
              h("small", {}, model.best ? ` ${t("production")}` : ` v${model.version}`),
            ),
            drawShare(answer.p_any_severe, answer.alert, verdict(answer)),
            ...answer.people.map((person) => drawShare(person.severe_probability, person.severe, t(person.class))),
          ),
        ),
      ),
    ),
  );
}

function drawShare(share, severe, note) {
  return h("td", {}, bar(share, severe ? "killed" : "light"), `${risk(share)} `, h("small", {}, note));
}
