// What every field of a form has around its input: label, explanation, and the place where a fault is told.

import { freshId, h, replace } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";

/** `{ element, setFault }` around `control`; `input` is what label and fault belong to. `group`: it has several inputs. */
export function fieldFrame({ label, description, required, side = null, group = false }, input, control = input) {
  const id = freshId("field");
  const labelId = `${id}-label`;
  const hintId = `${id}-hint`;
  const faultId = `${id}-fault`;
  input.id ||= id;
  const name = group ? h("span.label", { id: labelId }, label) : h("label", { for: input.id, id: labelId }, label);
  const fault = h("p.fault", { id: faultId, hidden: true });
  input.setAttribute("aria-describedby", description ? `${faultId} ${hintId}` : faultId);
  if (group) input.setAttribute("aria-labelledby", labelId);
  if (required && !group) input.setAttribute("aria-required", "true");
  const element = h("div.field", {},
    h("div.row.apart", {}, h("span", {}, name, required && h("span.soft.small", { "aria-hidden": "true" }, " needed")), side),
    control, fault, description && h("p.hint", { id: hintId }, description));
  return {
    element,
    setFault(text) {
      fault.hidden = !text;
      replace(fault, text && [icon("warn", "s"), h("span", {}, text)]);
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
    focus: () => input.focus(),
  };
}
