/** Who calls the sources: a quiet word at the top that opens to a list; louder where a worker is lost or none works. */

import { serverNow } from "./clock.js";
import { $, h, mark, say, show } from "./dom.js";
import { isWorking } from "./model.js";
import { calmSpan, moment, number, several } from "./words.js";

const NAMED = 6;
const JUST_NOW_MS = 2_500;

export class Workers {
  /** `on`: toggled(open), lost(worker) for each that was not lost when last seen. */
  constructor(root, model, on) {
    this._root = root;
    this._model = model;
    this._on = on;
    this._words = [...$("#workers-words").children];
    this._none = $("#workers-none");
    this._list = $("#workers-list");
    this._rows = new Map();
    this._lost = null;
    root.addEventListener("toggle", () => on.toggled(root.open));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.close());
    document.addEventListener("pointerdown", ({ target }) => root.contains(target) || this.close());
  }

  /** Take over what the model knows now. */
  update() {
    const { workers, idle } = this._model;
    show(this._root, workers !== null);
    if (workers === null) return;
    const lost = workers.filter((worker) => !isWorking(worker));
    countWords(workers).forEach((words, n) => say(this._words[n], words));
    mark(this._root, "state", idle ? "none" : lost.length ? "lost" : "working");
    say(this._none, `Processes that call the sources${workers.length ? "" : ": there is none"}.`);
    this._tell(lost);
    this._fill([...lost, ...workers.filter(isWorking)], idle);
  }

  /** Show nothing of what is known. */
  hide() {
    this._root.open = false;
    show(this._root, false);
  }

  /** Close the list; who was in it is back at its word. */
  close() {
    if (!this._root.open) return;
    if (this._root.contains(document.activeElement)) $("summary", this._root).focus();
    this._root.open = false;
  }

  _tell(lost) {
    const before = this._lost;
    this._lost = new Set(lost.map(({ worker }) => worker));
    if (before) lost.filter(({ worker }) => !before.has(worker)).forEach((worker) => this._on.lost(worker));
  }

  /** Fill the list, each in the row that it had. */
  _fill(workers, idle) {
    const now = serverNow();
    show(this._list, workers.length > 0);
    const there = new Set(workers.map(({ worker }) => worker));
    for (const [name, row] of this._rows) {
      if (there.has(name)) continue;
      row.element.remove();
      this._rows.delete(name);
    }
    workers.forEach((worker, n) => {
      const row = this._rows.get(worker.worker) ?? this._add(worker.worker);
      const place = this._list.children[n];
      if (place !== row.element) this._list.insertBefore(row.element, place ?? null);
      fillRow(row, worker, now, idle);
    });
  }

  _add(name) {
    const parts = Object.fromEntries(
      ["host", "pid", "state", "holds", "calls", "times", "meaning"].map((part) => [part, h("span", { class: part })]),
    );
    const { host, pid, state, holds, calls, times, meaning } = parts;
    const top = h("div", { class: "top" }, host, " ", pid, " ", state, " ", holds);
    const element = h("li", {}, top, h("p", {}, calls, " · ", times), h("p", {}, meaning));
    const row = { element, ...parts };
    this._rows.set(name, row);
    return row;
  }
}

function fillRow(row, worker, now, idle) {
  mark(row.element, "state", worker.state);
  say(row.host, worker.host);
  say(row.pid, `pid ${worker.pid}`);
  say(row.state, isWorking(worker) ? "" : worker.state);
  say(row.holds, worker.holds ? `holds ${several(worker.holds, "batch", "batches")}` : "holds nothing");
  say(row.calls, `calls ${named(worker.sources)}`);
  say(row.times, timeWords(worker, now));
  say(row.meaning, lostWords(worker, idle));
}

/** How many work and how many are lost: "1 worker", "2 workers, " and "1 lost", or just "no worker". */
export function countWords(workers) {
  const working = workers.filter(isWorking).length;
  const lost = workers.length - working;
  if (!working) return ["no worker", ""];
  return lost ? [`${several(working, "worker")}, `, `${number(lost)} lost`] : [several(working, "worker"), ""];
}

/** Since when it is there, and when it was last seen where it gives signs of life. */
export function timeWords({ state, started_ms, silent_ms }, now) {
  const since = `since ${moment(started_ms, now)}`;
  if (silent_ms === null) return since;
  const seen = silent_ms < JUST_NOW_MS ? "just now" : `${calmSpan(silent_ms)} ago`;
  return `${since} · ${state === "lost" ? "last seen" : "seen"} ${seen}`;
}

/** What it means that a worker is lost; empty if it is not. `idle`: nobody works who could take its batches back. */
export function lostWords(worker, idle) {
  if (isWorking(worker)) return "";
  const what = "It was killed, or nothing is heard of it any more";
  if (!worker.holds) return `${what}; what it held was taken back.`;
  const [its, their] = worker.holds === 1 ? ["its batch comes", "its"] : ["its batches come", "their"];
  return `${what}; ${its} back ${idle ? "once a worker works" : `when ${their} lease has run out`}.`;
}

function named(sources) {
  const more = sources.length - NAMED;
  const names = sources.slice(0, NAMED).join(", ");
  return more > 0 ? `${names} and ${number(more)} more` : names;
}
