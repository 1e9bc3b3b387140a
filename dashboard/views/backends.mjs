// The view of backends.

import { pageHead } from "../components/parts.mjs";

export function view(route, app) {
  return pageHead("Backends");
}
