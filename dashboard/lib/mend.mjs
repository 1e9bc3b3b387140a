// What to do about a job that failed, by its code. Pure. The server's sentence says what happened; this says what helps.

const hints = {
  validation: "Open the workflow and look at its checks: a model or a node is missing on every backend, or a value is not one of its choices.",
  node_error: "The node itself failed. Out of memory: smaller pictures, fewer at once, or a backend with more. Else the log of that backend has the whole story.",
  timeout_queue: "It waited for longer than its queue limit. More backends, a higher priority, or a longer limit in `timeouts.queue`.",
  timeout_start: "A free backend took it and did not begin. Large models load slowly the first time: raise `timeouts.start` of the workflow.",
  timeout_silence: "It began and then gave no sign of life. Look whether that backend hangs; raise `timeouts.silence` for nodes that work long without telling.",
  timeout_run: "It ran for longer than its limit. Fewer steps or smaller pictures, or a longer limit in `timeouts.run`.",
  backend_lost: "The backend went away while it had the job. Look at Backends; then send the job again.",
  output_missing: "It ran through without the expected outputs. Look whether the workflow's output nodes are the right ones.",
  output_too_large: "An output is larger than the gateway stores. Make it smaller, or raise the limit in the settings.",
  interrupted: "Somebody interrupted it on the ComfyUI itself. Send it again.",
  api_key_lost: "The key for partner nodes is kept in memory only, and the gateway was restarted. Send the request again.",
  internal: "A fault of the gateway itself. Its log has the reason; sending the job again may help.",
};

/** A sentence, or `null` where nothing can be said. Cancelled jobs need no help. */
export const howToMend = (code) => hints[code] ?? null;
