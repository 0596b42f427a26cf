/** The form: ids and a priority, to a source. Mistakes stand at their field, in the server's own words. */

import { Away, NeedsKey, post, Refused } from "./api.js";
import { $, h, say, show } from "./dom.js";
import { readIds, shown } from "./ids.js";
import { number, PRIORITIES, several } from "./words.js";

const QUIET_MS = 200;
const LONG_TEXT = 20_000;
const MISTAKES_SHOWN = 6;
const WANTS_TEXT = "Input should be a valid string";

export class Form {
  /** `on`: accepted(ingestion), chosen(source), locked(), said(text). */
  constructor(root, model, on) {
    this._root = root;
    this._model = model;
    this._on = on;
    this._ids = $("#ids", root);
    this._hint = $("#ids-hint", root);
    this._button = $("button[type=submit]", root);
    this._source = $("#source", root);
    this._mistakes = { ids: $("#ids-error"), priority: $("#priority-error"), source: $("#source-error") };
    this._textual = new Set();
    this._unanswered = null;
    root.addEventListener("submit", (event) => this._submit(event));
    root.addEventListener("keydown", (event) => this._shortcut(event));
    this._ids.addEventListener("input", () => this._changed());
    this._source.addEventListener("change", () => this._on.chosen(this._source.value));
  }

  /** Take over the sources that there are. */
  update() {
    const names = this._model.sources.filter(({ type }) => type !== null).map(({ name }) => name);
    show($("#source-field"), names.length > 1);
    const known = [...this._source.options].map(({ value }) => value);
    if (names.join("\n") !== known.join("\n")) {
      this._source.replaceChildren(...names.map((name) => h("option", { value: name, text: name })));
    }
    if (this._model.chosen && this._source.value !== this._model.chosen) this._source.value = this._model.chosen;
  }

  /** Hand in ids that are ready to stand in JSON. Returns the ingestion. */
  async handIn(literals, priority, source) {
    const named = source === null ? "" : `,"source":${JSON.stringify(source)}`;
    const body = `{"ids":[${literals.join(",")}],"priority":${JSON.stringify(priority)}${named}}`;
    if (this._unanswered?.body !== body) this._unanswered = { body, key: randomKey() };
    const ingestion = await post("ingestions", body, { "Idempotency-Key": this._unanswered.key });
    this._unanswered = null;
    this._on.accepted(ingestion, literals);
    return ingestion;
  }

  _changed() {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._count(), this._ids.value.length > LONG_TEXT ? QUIET_MS : 0);
  }

  _count() {
    this._clear("ids");
    const { literals, mistake } = this._read();
    const size = this._model.source?.batch_size ?? 1;
    if (mistake) this._tell("ids", [mistake]);
    const batches = several(Math.ceil(literals.length / size), "batch", "batches");
    say(this._hint, literals.length ? `${several(literals.length, "id")}, ${batches}` : this._hint.dataset.empty);
    say(this._button, literals.length ? `Hand in ${several(literals.length, "id")}` : "Hand in");
  }

  _read() {
    return readIds(this._ids.value, { asText: this._textual.has(this._model.chosen) });
  }

  _shortcut(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    this._root.requestSubmit();
  }

  async _submit(event) {
    event.preventDefault();
    if (this._button.disabled) return;
    Object.keys(this._mistakes).forEach((field) => this._clear(field));
    this._button.disabled = true;
    this._root.setAttribute("aria-busy", "true");
    try {
      await this._handInWhatIsThere();
    } finally {
      this._button.disabled = false;
      this._root.removeAttribute("aria-busy");
    }
  }

  async _handInWhatIsThere() {
    const { literals, mistake } = this._read();
    if (mistake) {
      this._tell("ids", [mistake]);
      return;
    }
    const priority = PRIORITIES.find((name) => $(`#priority-${name}`, this._root).checked) ?? "MEDIUM";
    const source = this._model.chosen;
    try {
      await this.handIn(literals, priority, source);
      this._ids.value = "";
      this._count();
    } catch (error) {
      if (this._learnsThatIdsAreTexts(error, source)) await this._handInWhatIsThere();
      else this._failed(error, literals);
    }
  }

  /** The API does not say whether a source's ids are numbers or texts, but its refusal does. */
  _learnsThatIdsAreTexts(error, source) {
    if (!(error instanceof Refused) || !error.errors.length || this._textual.has(source)) return false;
    if (!error.errors.every(({ detail }) => detail === WANTS_TEXT)) return false;
    this._textual.add(source);
    return true;
  }

  _failed(error, literals) {
    if (error instanceof NeedsKey) this._on.locked();
    else if (error instanceof Away) {
      this._tell("ids", [`The server did not answer (${error.message}). Try again: it is not taken twice.`]);
    } else if (error instanceof Refused) this._refused(error, literals);
    else throw error;
  }

  _refused(error, literals) {
    const told = { ids: [], priority: [], source: [] };
    for (const { pointer, detail } of error.errors) {
      const [, field, position] = pointer.split("/");
      const id = field === "ids" && position !== undefined ? literals[Number(position)] : undefined;
      (told[field] ?? told.ids).push(id === undefined ? detail : `${shown(id)}: ${detail}`);
    }
    if (!error.errors.length) told.ids.push(error.message);
    for (const [field, mistakes] of Object.entries(told)) if (mistakes.length) this._tell(field, mistakes);
    const first = Object.keys(told).find((field) => told[field].length);
    if (first === "ids") this._ids.focus();
  }

  _tell(field, mistakes) {
    const box = this._mistakes[field];
    const more = mistakes.length - MISTAKES_SHOWN;
    const lines = mistakes.slice(0, MISTAKES_SHOWN).map((text) => h("span", { text }));
    if (more > 0) lines.push(h("span", { text: `and ${number(more)} more like these` }));
    box.replaceChildren(...lines);
    show(box, true);
    if (field === "ids") this._ids.setAttribute("aria-invalid", "true");
  }

  _clear(field) {
    this._mistakes[field].replaceChildren();
    show(this._mistakes[field], false);
    if (field === "ids") this._ids.removeAttribute("aria-invalid");
  }
}

/** A key for one submission, so that sending it again after no answer is not taken twice. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
