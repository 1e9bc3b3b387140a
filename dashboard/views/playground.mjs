// The view of playground.

import { pageHead } from "../components/parts.mjs";

export function view(route, app) {
  return pageHead("Playground");
}
