// An input that finds something by the beginning of its name: a combobox with a list, as the ARIA practices describe it.

import { h } from "./dom.js";

const PAUSE_MS = 150; // of typing, before anything is asked

/* find(text) gives options { text, note, value } or throws; choose(value) and clear() are called by what the user does;
   say(key, count) gives the hint for "none", "found", "pick" or "offline". */
export function combobox({ id, label, longest, shown, find, choose, clear, say }) {
  const state = { options: [], active: -1, waiting: 0, searched: Promise.resolve(), turn: 0, shown };
  const list = h("ul", { id: `${id}-list`, role: "listbox", "aria-label": label, class: "options", hidden: true });
  const hint = h("span", { id: `${id}-hint`, class: "hint", role: "status" });
  const input = h("input", {
    id,
    type: "text",
    role: "combobox",
    value: shown,
    maxlength: longest,
    autocomplete: "off",
    spellcheck: "false",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
    "aria-describedby": hint.id,
  });

  function close() {
    state.active = -1;
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function point(to) {
    state.active = to;
    for (const [i, each] of [...list.children].entries()) each.setAttribute("aria-selected", i === to);
    input.setAttribute("aria-activedescendant", list.children[to].id);
    list.children[to].scrollIntoView({ block: "nearest" });
  }

  function open(options) {
    state.options = options;
    list.replaceChildren(
      ...options.map((each, i) =>
        h(
          "li",
          { id: `${list.id}-${i}`, role: "option", "aria-selected": "false", onclick: () => take(each) },
          h("span", {}, each.text),
          " ",
          h("small", {}, each.note),
        ),
      ),
    );
    close();
    list.hidden = options.length === 0;
    input.setAttribute("aria-expanded", options.length > 0);
    hint.className = options.length ? "hidden" : "hint"; // how many there are is seen, and read out
    hint.textContent = options.length ? say("found", options.length) : say("none");
  }

  function restore() {
    clearTimeout(state.waiting);
    state.turn += 1;
    state.options = [];
    input.value = state.shown;
    hint.textContent = "";
    close();
  }

  function take(option) {
    state.shown = option.shown;
    restore();
    choose(option.value);
  }

  function forget() {
    state.shown = "";
    restore();
    clear();
  }

  async function search() {
    const turn = ++state.turn;
    try {
      const options = await find(input.value.trim());
      if (turn === state.turn) open(options);
    } catch {
      if (turn === state.turn) Object.assign(hint, { className: "hint", textContent: say("offline") });
    }
  }

  const searchNow = () => {
    clearTimeout(state.waiting);
    state.waiting = 0;
    state.searched = search();
    return state.searched;
  };

  function typed() {
    clearTimeout(state.waiting);
    if (input.value.trim() === "") return forget();
    state.waiting = setTimeout(searchNow, PAUSE_MS);
  }

  // Left without a choice: a name that is typed out and stands there once is one.
  async function leave() {
    if (input.value === state.shown) return restore();
    const text = input.value;
    if (state.waiting) searchNow();
    await state.searched;
    if (input.value !== text || document.activeElement === input) return;
    const same = state.options.filter(
      (each) => each.text.localeCompare(text.trim(), "fr", { sensitivity: "base" }) === 0,
    );
    if (same.length === 1) return take(same[0]);
    restore();
    Object.assign(hint, { className: "hint", textContent: say("pick") });
  }

  async function enter() {
    if (state.waiting) await searchNow();
    if (state.options.length) take(state.options[Math.max(state.active, 0)]);
  }

  const steps = { ArrowDown: 1, ArrowUp: -1 };
  function pressed(event) {
    const typing = input.value !== state.shown;
    if (event.key in steps) {
      const count = state.options.length;
      if (count)
        point((state.active < 0 && steps[event.key] < 0 ? count - 1 : state.active + steps[event.key] + count) % count);
    } else if (event.key === "Enter" && typing) enter();
    else if (event.key === "Escape" && typing) restore();
    else return;
    event.preventDefault();
  }

  input.addEventListener("input", typed);
  input.addEventListener("keydown", pressed);
  input.addEventListener("focus", () => input.select());
  input.addEventListener("blur", leave);
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the input keeps the focus
  return {
    element: h("div", { class: "field combobox" }, h("label", { for: id }, label), input, list, hint),
    forget: () => {
      state.shown = "";
      restore();
    },
  };
}
