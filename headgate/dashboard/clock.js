/** The server's clock, as far as this page can know it. All in milliseconds; only differences are ever shown. */

let ahead = null;
let doubt = Infinity;

/** Learn from an answer that said `serverMs` somewhere between asking and answering. */
export function learn(serverMs, askedAt, answeredAt) {
  const seen = serverMs - (askedAt + answeredAt) / 2;
  const unsure = (answeredAt - askedAt) / 2;
  if (ahead === null || Math.abs(seen - ahead) > unsure + doubt + 20) {
    ahead = seen;
    doubt = unsure;
  } else if (unsure <= doubt * 2) {
    ahead += (seen - ahead) * 0.2;
    doubt = Math.min(doubt, unsure) + 0.1;
  }
}

/** What the server's clock says now. */
export function serverNow() {
  return ahead === null ? Date.now() : performance.now() + ahead;
}

/** An RFC 3339 instant in milliseconds with its microseconds kept; null stays null. */
export function instant(text) {
  if (text === null || text === undefined) return null;
  const found = /^(.*\.\d{3})(\d{3})Z$/.exec(text);
  return found ? Date.parse(`${found[1]}Z`) + Number(found[2]) / 1000 : Date.parse(text);
}
