// The icons, drawn on a field of 24 by 24 with one line width. They say nothing to screen readers; words beside them do.

import { s } from "./dom.mjs";

const paths = {
  jobs: "M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z",
  playground: "M12 3v4M12 17v4M3 12h4M17 12h4M6 6l2 2M16 16l2 2M6 18l2-2M16 8l2-2",
  workflows: "M3 5h6v5H3zM15 5h6v5h-6zM9 14h6v5H9zM9 7.5h6M6 10v2.5h6V14M18 10v2.5h-6",
  backends: "M4 4h16v6H4zM4 14h16v6H4zM7.5 7h.01M7.5 17h.01M12 7h5M12 17h5",
  webhooks: "M4 6h16v12H4zM4 7l8 6 8-6",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  screen: "M3 5h18v11H3zM9 20h6M12 16v4",
  help: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 16.8h.01",
  key: "M8 11a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM11 12l8-8M16 7l3 3M14 9l2 2",
  leave: "M14 4H5v16h9M10 12h11M17 8l4 4-4 4",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 12.5l4.5 4.5L19 7.5",
  warn: "M12 4 2.5 20h19zM12 10v4.5M12 17.3h.01",
  info: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 11v5.5M12 7.7h.01",
  close: "M6 6l12 12M18 6 6 18",
  back: "M19 12H5M11 6l-6 6 6 6",
  next: "M5 12h14M13 6l6 6-6 6",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  more: "M5 9l7 7 7-7",
  again: "M20 5v5h-5M4 19v-5h5M5.5 9.5A7 7 0 0 1 18 8l2 2M18.5 14.5A7 7 0 0 1 6 16l-2-2",
  stop: "M7 7h10v10H7z",
  pause: "M8 5v14M16 5v14",
  play: "M7 5l12 7-12 7z",
  dice: "M5 5h14v14H5zM8.25 9a.75.75 0 1 0 1.5 0 .75.75 0 1 0-1.5 0M14.25 9a.75.75 0 1 0 1.5 0 .75.75 0 1 0-1.5 0M11.25 12a.75.75 0 1 0 1.5 0 .75.75 0 1 0-1.5 0M8.25 15a.75.75 0 1 0 1.5 0 .75.75 0 1 0-1.5 0M14.25 15a.75.75 0 1 0 1.5 0 .75.75 0 1 0-1.5 0",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9.5h.01",
  file: "M6 3h8l5 5v13H6zM14 3v5h5",
  upload: "M12 16V4M7 9l5-5 5 5M4 16v4h16v-4",
  download: "M12 4v12M7 11l5 5 5-5M4 20h16",
  code: "M8 7l-5 5 5 5M16 7l5 5-5 5",
  clock: "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 7v5l3.5 2",
  memory: "M6 6h12v12H6zM9 3v3M15 3v3M9 18v3M15 18v3M3 9h3M3 15h3M18 9h3M18 15h3",
  drop: "M12 3c4 5 6 7.5 6 11a6 6 0 0 1-12 0c0-3.5 2-6 6-11z",
  rows: "M4 6h16M4 12h16M4 18h16",
  larger: "M12 5v14M5 12h14",
  smaller: "M5 12h14",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  filter: "M4 6h16M7 12h10M10 18h4",
};

/** The icon of this name; `size` "s" is the small one. */
export function icon(name, size) {
  const drawing = s("svg", { class: size ? `icon ${size}` : "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" });
  drawing.append(s("path", { d: paths[name] ?? paths.info }));
  return drawing;
}
