/** Elements without HTML: what is put in is text, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties, `data`, `aria` and attributes; strings among the children become text. */
export function h(name, given = {}, ...children) {
  return filled(document.createElement(name), given, children);
}

/** The same for SVG. */
export function svg(name, given = {}, ...children) {
  return filled(document.createElementNS(SVG, name), given, children);
}

export const $ = (selector, within = document) => within.querySelector(selector);

/** Set an element's text, touching the page only if it changes. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show or hide. */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Set a data attribute, touching the page only if it changes. */
export function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

function filled(element, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
