/**
 * Where instants lie on the river. A space has `width`, `gate` (where now is), `flow` in pixels a second, `chip` and
 * `stride` of batches, and the slots: `slot` apart in milliseconds, `slotWidth` in pixels, the next one at `slotAt`.
 */

/** Where an instant is on the river. */
export function xOf(instantMs, space, now) {
  return space.gate + ((instantMs - now) / 1_000) * space.flow;
}

/** Where the n-th slot to come is. */
export function slotX(n, space, now) {
  if (space.slotAt === null) return space.gate; // there will be none
  return xOf(now + untilSlot(n, space, now), space, now);
}

/** How long until the n-th slot to come. Slots of a gate that is open come after a call, so they do not move. */
export function untilSlot(n, space, now) {
  return Math.max(0, space.slotAt - now) + n * space.slot;
}

/** When a call left. */
export const leftAt = (call) => call.written_ms ?? call.granted_ms;
