// The view of workflows.

import { pageHead } from "../components/parts.mjs";

export function view(route, app) {
  return pageHead("Workflows");
}
