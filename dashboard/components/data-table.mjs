// A table with a caption and headed columns, which scrolls by itself on narrow screens instead of breaking the page.

import { h } from "../lib/dom.mjs";

/** `columns`: `{ label, cell: (row) => node or text, number, hideLabel }`. The first column is the head of its row. */
export function dataTable({ caption, hideCaption = false, columns, rows }) {
  const head = columns.map((column) => h("th", { scope: "col", class: column.number ? "number" : null }, column.hideLabel ? h("span.visually-hidden", {}, column.label) : column.label));
  const body = rows.map((row) => h("tr", {}, columns.map((column, index) =>
    h(index === 0 ? "th" : "td", { scope: index === 0 ? "row" : null, class: column.number ? "number" : null }, column.cell(row)))));
  return h("div.table-wrap", { tabindex: "0", role: "region", "aria-label": caption },
    h("table.table", {},
      h("caption", { class: hideCaption ? "visually-hidden" : null }, caption),
      h("thead", {}, h("tr", {}, head)),
      h("tbody", {}, body)));
}
