// Makes elements without strings of HTML: what comes from outside can only become text or an attribute.

const svgSpace = "http://www.w3.org/2000/svg";

/** `h("button.primary", { onclick }, "Go")`: tag with classes, attributes and listeners, children. `css` sets single properties of the style. */
export function h(name, properties, ...children) {
  return fill(document.createElement(name.split(".")[0]), name, properties, children);
}

/** The same for SVG. */
export function s(name, properties, ...children) {
  return fill(document.createElementNS(svgSpace, name.split(".")[0]), name, properties, children);
}

/** Puts `children` into the place of everything that `element` has. */
export function replace(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

/** Sets the text of an element only where it differs, so that live regions speak once. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A name for `id` attributes that no other element has. */
export function freshId(stem) {
  count += 1;
  return `${stem}-${count}`;
}

let count = 0;

function fill(element, name, properties, children) {
  const classes = name.split(".").slice(1);
  if (classes.length) element.classList.add(...classes);
  for (const [key, value] of Object.entries(properties ?? {})) set(element, key, value);
  element.append(...flat(children));
  return element;
}

function set(element, key, value) {
  if (value === undefined || value === null || value === false) return;
  if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
  else if (key === "css") for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
  else if (key === "class") element.classList.add(...String(value).split(" ").filter(Boolean));
  else if (key === "value" && "value" in element) element.value = value;
  else element.setAttribute(key, value === true ? "" : String(value));
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== "");
}
