// A receiver of webhooks, whose answer can be changed. It remembers what came.

import { once } from "node:events";
import { createServer } from "node:http";
import { within } from "./processes.mjs";

/** `receiver.status` is what it answers; `words` go with what is no 200; `calls` are `{ id, body, status }` in the order of their arrival. */
export async function startReceiver() {
  const receiver = { status: 200, words: "not today", calls: [] };
  const waiting = new Set();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    receiver.calls.push({ id: request.headers["webhook-id"], body: JSON.parse(body), status: receiver.status });
    response.writeHead(receiver.status, { "content-type": "text/plain" }).end(receiver.status === 200 ? "thanks" : receiver.words);
    for (const check of waiting) check();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  receiver.url = `http://127.0.0.1:${server.address().port}/hook`;
  /** The first `count` calls, once they have come. */
  receiver.until = (count) => {
    let check;
    const come = new Promise((resolve) => {
      check = () => receiver.calls.length >= count && resolve(receiver.calls.slice(0, count));
      waiting.add(check);
      check();
    });
    return within(come, () => `${count} webhooks were awaited, ${receiver.calls.length} have come`).finally(() => waiting.delete(check));
  };
  receiver.close = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return receiver;
}
