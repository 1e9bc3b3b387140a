// The dialog that takes an API key and trades it for a session. The key itself is kept nowhere: the browser holds a cookie that scripts cannot read.

import { call } from "../lib/api.mjs";
import { freshId, h, replace } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";
import { openDialog } from "./dialogs.mjs";
import { faultNotice } from "./parts.mjs";

let open = null;

/** Asks for a key; true once there is a session. Those who ask meanwhile wait for the same dialog. */
export function signIn(reason) {
  open ??= ask(reason).finally(() => { open = null; });
  return open;
}

async function ask(reason) {
  const answer = await openDialog("Sign in with an API key", (close) => {
    const input = freshId("key");
    const hint = freshId("hint");
    const field = h("input.input.mono", { id: input, type: "password", autocomplete: "current-password", required: true, spellcheck: "false", "aria-describedby": hint, autofocus: true });
    const fault = h("div");
    const button = h("button.button.primary", { type: "submit", form: "sign-in" }, icon("key", "s"), "Sign in");
    const submit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await call("POST", "/session", { headers: { authorization: `Bearer ${field.value.trim()}` }, quiet: true });
        close(true);
      } catch (error) {
        const words = error.status === 401 ? { code: error.code, message: "This key is not known here, has ended, or was taken back. Look whether it was copied whole." } : error;
        replace(fault, faultNotice(words));
        field.setAttribute("aria-invalid", "true");
        field.focus();
      } finally {
        button.disabled = false;
      }
    };
    return {
      body: h("form.stack", { id: "sign-in", onsubmit: submit },
        h("p", {}, reason ?? "This gateway asks for a key. It decides whose jobs you see and what you may do."),
        h("div.field", {}, h("label", { for: input }, "API key"), field,
          h("span.hint", { id: hint }, "It is sent once and not kept here; a cookie stands for it until you sign out.")),
        fault,
        h("details.unfold", {}, h("summary", {}, "I have no key"),
          h("div.stack.tight", {},
            h("p.small", {}, "Whoever runs the gateway makes one, on its machine. For everything on this page:"),
            h("pre.code.wrap", {}, "comfygate keys create --name me --scopes admin"),
            h("p.small", {}, "To make and see jobs only:"),
            h("pre.code.wrap", {}, "comfygate keys create --name me")))),
      foot: [h("button.button", { type: "button", onclick: () => close(false) }, "Not now"), button],
    };
  });
  return answer === true;
}
