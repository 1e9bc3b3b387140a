// How webhooks fared, in words and numbers: from the summary's buckets to lines and bars, a tone for a rate, hosts with trouble first. Pure.

/** The lines and bars of a summary: `{ from, to, step, half, most, delivered, failed }`, each list of `[ms, value]`; times without an answer are absent. */
export function summaryLines({ since, buckets }, now) {
  const times = buckets.map(({ at }) => Date.parse(at));
  const from = times[0] ?? Date.parse(since);
  const step = times.length > 1 ? times[1] - times[0] : Math.max(60_000, now - from);
  const to = times.length > 0 ? times.at(-1) + step : now;
  const took = (name) => buckets.flatMap(({ latency_ms: latency }, index) => (Number.isFinite(latency?.[name]) ? [[times[index] + step / 2, latency[name]]] : []));
  const count = (name) => buckets.map((bucket, index) => [times[index], bucket[name] ?? 0]);
  return { from, to, step, half: took("p50"), most: took("p95"), delivered: count("delivered"), failed: count("failed") };
}

/** Whether a share of webhooks that arrived is good, poor or bad. */
export function rateTone(rate) {
  if (!Number.isFinite(rate)) return "grey";
  if (rate >= 0.99) return "green";
  return rate >= 0.9 ? "amber" : "red";
}

/** One sentence on the whole. */
export function rateWords({ success_rate: rate, undeliverable, gone, pending, delivered }) {
  if (!Number.isFinite(rate)) return pending > 0 ? "None has ended yet." : "No webhook in this time.";
  if (undeliverable + gone === 0) return delivered === 1 ? "The only one arrived." : `All ${delivered} arrived.`;
  const lost = [undeliverable > 0 && `${undeliverable} could not be delivered`, gone > 0 && `${gone} ${gone === 1 ? "was" : "were"} not wanted any more`].filter(Boolean).join(", and ");
  return `${delivered} arrived; ${lost}.`;
}

/** Hosts with their share, those with the most that did not arrive first. */
export function hostRows(hosts) {
  return hosts
    .map((host) => {
      const ended = host.delivered + host.undeliverable + (host.gone ?? 0);
      return { ...host, gone: host.gone ?? 0, rate: ended > 0 ? host.delivered / ended : null };
    })
    .sort((one, other) => other.undeliverable - one.undeliverable || other.gone - one.gone || other.delivered - one.delivered || one.host.localeCompare(other.host));
}

