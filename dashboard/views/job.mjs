// One job.

import { pageHead } from "../components/parts.mjs";

export function view(route) {
  return pageHead(route.argument);
}
