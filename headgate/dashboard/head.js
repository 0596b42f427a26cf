/** What stands around the river: which source, what it allows, what is used of it, and whether it is well. */

import { instant, serverNow } from "./clock.js";
import { $, h, mark, say, show } from "./dom.js";
import { clockTime, number, several, windowWords } from "./words.js";

export class Head {
  /** `on.chosen(name)`: another source is to be shown. */
  constructor(model, on) {
    this._model = model;
    this._on = on;
    this._tabs = $("#sources");
    this._rule = $("#rule");
    this._nobody = $("#nobody");
    this._notice = $("#notice");
    this._meters = $("#meters");
    this._counts = { waiting: $("#count-waiting"), called: $("#count-called") };
  }

  update() {
    const { source } = this._model;
    this._updateTabs();
    if (!source) return;
    const rule = source.quota.length ? source.quota.map(windowWords).join(" and ") : "no quota of its own";
    say(this._rule, `${source.name}: ${rule}, ${several(source.batch_size, "id")} a call`);
    const { waiting, ready, backing_off } = source.queue;
    say(this._counts.waiting, counted(waiting + ready + backing_off));
    say(this._counts.called, counted(source.in_flight));
    const called = this._updateNobody(source);
    this._updateNotice(called ? noticeWords(source, serverNow()) : "", source);
    this._updateMeters(source);
  }

  _updateTabs() {
    const { sources, chosen } = this._model;
    show(this._tabs, sources.length > 1);
    const buttons = [...this._tabs.children];
    sources.forEach(({ name, state, queue }, n) => {
      const button = buttons[n] ?? this._addTab();
      say(button.firstChild, name);
      say(button.lastChild, queue.waiting ? number(queue.waiting) : "");
      mark(button, "state", state);
      mark(button, "name", name);
      button.setAttribute("aria-pressed", String(name === chosen));
    });
    buttons.slice(sources.length).forEach((button) => button.remove());
  }

  _addTab() {
    const button = h("button", { type: "button" }, h("span"), h("b"));
    button.addEventListener("click", () => this._on.chosen(button.dataset.name));
    return this._tabs.appendChild(button);
  }

  /** Say so where nobody calls the source, and what helps. Returns whether somebody does. */
  _updateNobody({ name, type }) {
    const called = this._model.isCalled(name) || (type === null && !this._model.idle);
    show(this._nobody, !called);
    if (called) return true;
    const [words, command] = this._nobody.children;
    const none = this._model.idle;
    say(words, none ? "Nobody calls the sources: start" : `Nobody calls ${name}: start`);
    say(command, none ? "headgate worker" : `headgate worker --sources ${name}`);
    return false;
  }

  _updateNotice(words, source) {
    say(this._notice, words);
    show(this._notice, words !== "");
    mark(this._notice, "state", source.state);
  }

  _updateMeters(source) {
    const meters = source.quotas.flatMap(({ name, windows }) =>
      windows.map((window) => ({ ...window, shared: name === source.name ? "" : `${name}: ` })),
    );
    const items = [...this._meters.children];
    meters.forEach(({ limit, span, used, shared }, n) => {
      const item = items[n] ?? this._meters.appendChild(h("li", {}, h("meter", { min: 0 }), h("span")));
      const [meter, words] = item.children;
      meter.max = limit;
      meter.value = used;
      say(words, `${shared}${number(used)} of ${several(limit, "call")} used in any ${span.replace(/(\d)([a-z])/, "$1 $2")}`);
    });
    items.slice(meters.length).forEach((item) => item.remove());
    say($("#hint"), source.hint ?? "");
  }
}

const counted = (n) => (n ? number(n) : "");

function noticeWords(source, now) {
  if (source.next_slot_at === null) {
    return "A call for a whole batch costs more than a window of the quota holds, so nothing can be called.";
  }
  const next = clockTime(instant(source.next_slot_at), now);
  if (source.type === null) return `This server's configuration does not name ${source.name}: what waits for it stays.`;
  if (source.state === "closed") {
    const reason = source.reason ?? "it refused";
    return `The source is closed: ${reason}. It is asked again ${next}; what waits is kept.${remedy(source, reason)}`;
  }
  if (source.state === "paused") return `The source is paused: the next call may go out ${next}.`;
  return "";
}

/** What helps where a source does not know the key that it is sent. */
function remedy({ name, type }, reason) {
  if (type !== "http" || !/^40[13]\b/.test(reason)) return "";
  return ` Check the key in headers of [sources.${name}] in headgate.toml; if it was wrong, correct it and restart.`;
}
