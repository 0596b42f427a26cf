/** The page, put together: what the poller learns goes to the river, the head, the list and the form. */

import { setKey } from "./api.js";
import { $, h, mark, say, show } from "./dom.js";
import { Example } from "./example.js";
import { Form } from "./form.js";
import { Head } from "./head.js";
import { summary } from "./ids.js";
import { List } from "./list.js";
import { Model } from "./model.js";
import { Poller } from "./poll.js";
import { River } from "./river.js";
import { calmSpan, number, several, slotMs } from "./words.js";
import { Workers } from "./workers.js";

const SAID_EVERY_MS = 2_000;

const model = new Model();
const river = new River($("#river"), model, called);
const head = new Head(model, { chosen: choose });
const poller = new Poller(model, { updated, away, back, locked });
const list = new List($("#ingestions"), model, { changed, failed: (error) => announce(error.message) });
const workers = new Workers($("#workers"), model, { toggled: (open) => poller.watchWorkers(open), lost });
const form = new Form($("#form"), model, { accepted, chosen: choose, locked });
const example = new Example(model, form);
const running = new Set();

function updated() {
  if (document.body.dataset.state === "locked") unlocked();
  state("ready", "live");
  head.update();
  form.update();
  river.update();
  list.update();
  workers.update();
  const { waiting, total } = model.line();
  const idle = total === 0 && !model.source?.in_flight;
  invite(idle && !example.playing);
  show($("#none"), !model.order.length);
  show($("#older"), Boolean(model.olderPage));
  say($("#story"), example.story());
  describe(waiting, total);
  announceEnds();
  document.title = total ? `${number(total)} waiting · Headgate` : "Headgate";
}

/** Say which of the ingestions that were running when last seen have ended. */
function announceEnds() {
  for (const [id, { ended_ms, status, counts }] of model.ingestions) {
    if (ended_ms === null) running.add(id);
    else if (running.delete(id)) announce(`An ingestion of ${several(counts.ids, "id")} is ${status}.`);
  }
}

function state(name, words) {
  mark(document.body, "state", name);
  say($("#pulse"), words);
}

function invite(shown) {
  show($("#invite"), shown);
  const playable = model.source?.type === "simulated" && model.isCalled(model.chosen);
  show($("#play"), playable);
  show($("#invite-example"), playable);
  const first = !model.order.length;
  say($("#invite-words"), first ? "Nothing waits yet." : "The line is empty.");
}

/** The line in words, for those who do not see the river. */
function describe(waiting, total) {
  const lines = waiting.map(({ ids, priority }) => `${summary(ids, 60)}, ${priority}`);
  if (total > waiting.length) lines.push(`and ${several(total - waiting.length, "more batch", "more batches")}`);
  const text = lines.join("\n");
  const root = $("#line-words");
  if (root.dataset.text === text) return;
  root.dataset.text = text;
  root.replaceChildren(...lines.map((line) => h("li", { text: line })));
}

/** Each call is said where one can follow. */
function called({ ids }) {
  if (slotMs(model.source) >= SAID_EVERY_MS) announce(`Called: ${summary(ids, 40)}.`);
}

function lost({ host, pid }) {
  announce(`A worker is lost: ${host}, pid ${pid}.`);
}

function accepted(ingestion, literals) {
  model.noteIngestion(ingestion);
  if (ingestion.source !== model.chosen) choose(ingestion.source);
  announce(`Accepted: ${several(literals.length, "id")} in ${several(ingestion.batch_count, "batch", "batches")}.`);
  poller.soon();
}

function changed(ingestion) {
  model.noteIngestion(ingestion);
  list.update();
  poller.soon();
}

function choose(name) {
  model.choose(name);
  head.update();
  poller.soon();
}

// --- away, and locked ----------------------------------------------------------------------------------------------

function away(error, retryMs) {
  state("away", "away");
  river.freeze();
  workers.close();
  say($("#away-words"), `The server is away (${error.message}). This page asks again in ${calmSpan(retryMs)}, and goes on by itself.`);
  show($("#away"), true);
}

function back() {
  show($("#away"), false);
  announce("The server is back.");
}

function locked() {
  const asked = document.body.dataset.state === "locked" && $("#key").value !== "";
  state("locked", "locked");
  show($("#lock"), true);
  show($("#gate"), false);
  workers.hide();
  say($("#key-error"), asked ? "This key is not known here." : "");
  show($("#key-error"), asked);
  setKey(null);
  $("#key").focus();
}

function unlocked() {
  $("#key").value = "";
  show($("#lock"), false);
  show($("#gate"), true);
}

function unlock(event) {
  event.preventDefault();
  const given = $("#key").value.trim();
  if (!given) return;
  setKey(given);
  poller.soon();
}

// --- said aloud ----------------------------------------------------------------------------------------------------

let unsaid = [];
let lastSaid = 0;

/** Say something to those who listen, at most every two seconds. */
function announce(text) {
  unsaid.push(text);
  setTimeout(sayAloud, Math.max(0, lastSaid + SAID_EVERY_MS - performance.now()));
}

function sayAloud() {
  if (!unsaid.length) return;
  lastSaid = performance.now();
  say($("#said"), unsaid.slice(-3).join(" "));
  unsaid = [];
}

$("#play").addEventListener("click", () => {
  show($("#invite"), false);
  example.play().then(() => poller.soon());
});
$("#older").addEventListener("click", () => {
  poller.older().then(() => list.update(), (error) => announce(error.message));
});
$("#lock-form").addEventListener("submit", unlock);
setInterval(() => document.hidden || list.tick(), 1_000);
poller.soon();
