// A simulated ComfyUI seen through a door that adds what the node pack of agent/ answers: a GPU whose numbers move. All else passes as it is.

import { once } from "node:events";
import { createServer, request as ask } from "node:http";
import { connect } from "node:net";

/** `readings(count)` gives the GPUs of the answer with this number, counted from 0, as the agent writes them. */
export async function withAgent(sim, readings) {
  const { hostname, port } = new URL(sim.url);
  const sockets = new Set();
  let count = 0;
  const server = createServer((request, response) => {
    if (request.url === "/orchestrator/metrics") {
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer(readings(count))));
      count += 1;
      return;
    }
    const onward = ask({ hostname, port, method: request.method, path: request.url, headers: request.headers }, (back) => {
      response.writeHead(back.statusCode, back.headers);
      back.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => null);
  });
  server.on("upgrade", (request, socket, head) => {
    const onward = connect(port, hostname, () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let place = 0; place < request.rawHeaders.length; place += 2) lines.push(`${request.rawHeaders[place]}: ${request.rawHeaders[place + 1]}`);
      onward.write(`${lines.join("\r\n")}\r\n\r\n`);
      onward.write(head);
      onward.pipe(socket).pipe(onward);
    });
    for (const [one, other] of [[onward, socket], [socket, onward]]) one.on("error", () => other.destroy()).on("close", () => other.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

function answer(gpus) {
  return {
    agent: "comfygate", agent_version: "1.0.0", uptime_seconds: 86_400.5, stale: false, cpu_percent: 23.5, ram_total_mb: 64_216.1, ram_used_mb: 21_022.7, process_rss_mb: 9_120.4,
    gpus: gpus.map((gpu, index) => ({ index, name: "NVIDIA GeForce RTX 4090", memory_total_mb: 24_564, ...gpu })),
  };
}
