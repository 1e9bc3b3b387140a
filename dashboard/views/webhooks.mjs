// The view of webhooks.

import { pageHead } from "../components/parts.mjs";

export function view(route, app) {
  return pageHead("Webhooks");
}
