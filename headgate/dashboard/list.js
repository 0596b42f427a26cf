/** What was submitted: each ingestion with its progress, its forecast, its records, and a way to cancel it. */

import { address, download, hasKey, post, Refused } from "./api.js";
import { serverNow } from "./clock.js";
import { h, mark, say, show } from "./dom.js";
import { summary } from "./ids.js";
import { clockTime, forecastWords, number, several, STATUS_WORDS } from "./words.js";

const ENDINGS = ["fetched", "missing", "failed", "cancelled"];
const SURE_FOR_MS = 4_000;
const RECORDS_A_PAGE = 1_000;

export class List {
  /** `on.changed(ingestion)`: the server said something new of one; `on.failed(error)`: a download did not come. */
  constructor(root, model, on) {
    this._root = root;
    this._model = model;
    this._on = on;
    this._rows = new Map();
  }

  /** Take over what the model knows now. */
  update() {
    const { order, ingestions } = this._model;
    for (const [id, row] of this._rows) {
      if (ingestions.has(id)) continue;
      row.element.remove();
      this._rows.delete(id);
    }
    let place = this._root.firstElementChild;
    for (const id of order) {
      const row = this._rows.get(id) ?? this._add(id);
      if (row.element === place) place = place.nextElementSibling;
      else this._root.insertBefore(row.element, place);
      this._fill(row, ingestions.get(id));
    }
    this.tick();
  }

  /** Renew what changes with time alone. */
  tick() {
    const now = serverNow();
    for (const [id, row] of this._rows) {
      const ingestion = this._model.ingestions.get(id);
      if (!ingestion) continue;
      const [why, when] = forecastWords(ingestion, now, { called: this._model.isCalled(ingestion.source) });
      say(row.why, why);
      say(row.when, when);
      say(row.at, `accepted ${clockTime(ingestion.accepted_ms, now)}`);
    }
  }

  _add(id) {
    const parts = Object.fromEntries(
      ["priority", "what", "size", "status", "source", "counts", "why", "when", "at"].map((name) => [
        name,
        h("span", { class: name }),
      ]),
    );
    const endings = ENDINGS.map((name) => h("i", { class: name }));
    const bar = h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0 }, ...endings);
    const cancel = h("button", { type: "button", class: "quiet cancel", text: "Cancel" });
    const records = h(
      "span",
      { class: "records" },
      "records ",
      this._link(id, "JSON", { limit: RECORDS_A_PAGE }, "json"),
      " ",
      this._link(id, "NDJSON", { format: "ndjson" }, "ndjson"),
    );
    const said = h("p", { class: "error", role: "alert", hidden: true });
    const element = h(
      "li",
      { class: "ingestion", data: { ingestion: id } },
      h("div", { class: "top" }, parts.priority, parts.what, parts.size, parts.source, parts.status),
      bar,
      h("p", { class: "forecast" }, parts.counts, " ", parts.why, " ", parts.when),
      h("div", { class: "tools" }, h("code", { text: id, title: "ingestion_id" }), parts.at, records, cancel),
      said,
    );
    const row = { element, ...parts, endings, bar, cancel, records, said };
    cancel.addEventListener("click", () => this._cancel(id, row));
    cancel.addEventListener("blur", () => unsure(row));
    this._rows.set(id, row);
    return row;
  }

  _fill(row, ingestion) {
    const { counts, status } = ingestion;
    mark(row.element, "status", status);
    mark(row.priority, "priority", ingestion.priority);
    say(row.priority, ingestion.priority);
    say(row.what, ingestion.sample ? sampled(ingestion) : several(counts.ids, "id"));
    const batches = several(ingestion.batch_count, "batch", "batches");
    say(row.size, ingestion.sample ? `${several(counts.ids, "id")} in ${batches}` : `in ${batches}`);
    say(row.source, this._model.sources.length > 1 ? ingestion.source : "");
    say(row.status, STATUS_WORDS[status] ?? status);
    say(row.counts, countWords(counts));
    ENDINGS.forEach((name, n) => {
      row.endings[n].style.width = `${(counts[name] / counts.distinct) * 100}%`;
    });
    row.bar.setAttribute("aria-valuemax", counts.distinct);
    row.bar.setAttribute("aria-valuenow", counts.distinct - counts.left);
    row.bar.setAttribute("aria-label", `${countWords(counts)} ${STATUS_WORDS[status] ?? status}`);
    show(row.records, counts.fetched + counts.missing + counts.failed > 0);
    show(row.cancel, ingestion.ended_ms === null && !ingestion.cancelled_at);
  }

  async _cancel(id, row) {
    if (!row.sure) {
      say(row.cancel, "Really cancel?");
      row.sure = setTimeout(() => unsure(row), SURE_FOR_MS);
      return;
    }
    unsure(row);
    row.cancel.disabled = true;
    try {
      const { ingestion } = await post(`ingestions/${encodeURIComponent(id)}:cancel`);
      show(row.said, false);
      this._on.changed(ingestion);
    } catch (error) {
      say(row.said, error instanceof Refused ? error.message : "The server did not answer: nothing may have been cancelled.");
      show(row.said, true);
    }
    row.cancel.disabled = false;
  }

  /** A plain link; where there is a key, which a link cannot carry, the click fetches and saves. */
  _link(id, text, params, suffix) {
    const url = address(`ingestions/${encodeURIComponent(id)}/records`, params);
    const link = h("a", { href: url.href, target: "_blank", rel: "noopener", text });
    link.addEventListener("click", (event) => {
      if (!hasKey()) return;
      event.preventDefault();
      save(url, `${id}.${suffix}`).catch((error) => this._on.failed(error));
    });
    return link;
  }
}

function unsure(row) {
  clearTimeout(row.sure);
  row.sure = null;
  say(row.cancel, "Cancel");
}

function sampled({ sample, counts }) {
  return sample.length < counts.ids ? `${summary(sample, 24)}, …` : summary(sample, 24);
}

function countWords(counts) {
  const others = ["missing", "failed", "cancelled"]
    .filter((name) => counts[name])
    .map((name) => `, ${number(counts[name])} ${name}`);
  const repeats = counts.ids - counts.distinct;
  const once = repeats ? ` (${several(repeats, "repeat")} fetched once)` : "";
  return `${number(counts.fetched)} of ${number(counts.distinct)} fetched${others.join("")}${once}.`;
}

async function save(url, name) {
  const href = URL.createObjectURL(await download(url));
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}
