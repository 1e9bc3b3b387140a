// Something that is done again and again while a view is open, and not while nobody looks at the page.

/** Runs `task` now and again `wait()` milliseconds after it has ended, until `signal` is aborted. `now()` brings the next run forward. */
export function repeat(task, wait, signal) {
  let timer = null;
  let running = false;
  let again = false;

  async function run() {
    clearTimeout(timer);
    if (signal.aborted) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    again = false;
    try {
      if (!document.hidden) await task();
    } finally {
      running = false;
      if (!signal.aborted) timer = setTimeout(run, again ? 0 : wait());
    }
  }

  document.addEventListener("visibilitychange", () => !document.hidden && run(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  run();
  return { now: run };
}
