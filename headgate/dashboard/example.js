/** The worked example: two ingestions, so that one sees the order of the line. Its story is told as it happens. */

import { summary } from "./ids.js";
import { slotMs } from "./words.js";

const FIRST = { ids: ["1", "2", "3", "4", "5"], priority: "MEDIUM" };
const SECOND = { ids: ["6", "7", "8", "9"], priority: "HIGH" };
/** The second comes a second before the second slot, four after the first where slots are five apart. */
const BEFORE_THE_SLOT_MS = 1_000;
const AT_LEAST = 0.4;
const AT_MOST_MS = 4_000;

export class Example {
  constructor(model, form) {
    this._model = model;
    this._form = form;
    this._parts = [];
    this._failure = "";
    this.playing = false;
  }

  async play() {
    this.playing = true;
    this._parts = [];
    this._failure = "";
    try {
      await this._handIn(FIRST);
      await new Promise((done) => setTimeout(done, this._pause()));
      await this._handIn(SECOND);
    } catch (error) {
      this._failure = `The example was not taken: ${error.message || "a key is needed"}.`;
    } finally {
      this.playing = false;
    }
  }

  _pause() {
    const slot = slotMs(this._model.source);
    return Math.min(AT_MOST_MS, Math.max(slot - BEFORE_THE_SLOT_MS, slot * AT_LEAST));
  }

  async _handIn({ ids, priority }) {
    const ingestion = await this._form.handIn(ids, priority, this._model.chosen);
    this._parts.push(ingestion.ingestion_id);
  }

  /** What has happened so far, in a sentence or two; empty if the example was not played. */
  story() {
    if (this._failure || !this._parts.length) return this._failure;
    const parts = this._parts.map((id) => this._model.ingestions.get(id));
    if (parts.some((part) => !part || part.source !== this._model.chosen)) return "";
    const sent = this._sent();
    if (parts.length === 2 && parts.every((part) => part.ended_ms !== null)) {
      return `Sent: ${sent.join("  ·  ")}. HIGH went first, 4 and 5 kept their place, and no slot was overrun.`;
    }
    if (parts.length === 1) return "1 to 5 are in, as MEDIUM: two batches. The first leaves as soon as a slot is free.";
    return "6 to 9 came in as HIGH: at the next slot they go before 4 and 5.";
  }

  _sent() {
    const calls = this._model.calls.filter(({ ingestion_id }) => this._parts.includes(ingestion_id));
    return calls
      .map(({ batch_id }) => this._model.batches.get(batch_id))
      .filter(Boolean)
      .reverse()
      .map(({ ids }) => summary(ids));
  }
}
