// Buttons that change something: they post to the API with the token that the person has given, and say what came of it.
"use strict";

const KEPT = "alexandria-token"; // in the tab's own store: gone with the tab
const outcome = document.getElementById("outcome");
const dialog = document.getElementById("confirm");
const form = document.getElementById("token-form");
const SHOWN = 30000; // the page itself shows what came of it, too
let shownUntil = 0;

function report(text, tone) {
  clearTimeout(shownUntil);
  outcome.className = `outcome ${tone}`;
  outcome.textContent = text;
  shownUntil = setTimeout(() => outcome.replaceChildren(), SHOWN);
}

// Asks a question and waits for the answer; Escape is a no.
function confirmed(question, yes) {
  if (!question) return Promise.resolve(true);
  dialog.querySelector("#confirm-question").textContent = question;
  dialog.querySelector("[value=yes]").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

function reasonOf(status, problem) {
  if (status === 401 && !sessionStorage.getItem(KEPT)) return "Nothing was done: this needs a token. Give it in the field above.";
  if (status === 401) return "Nothing was done: the token is wrong. Give one of ALEXANDRIA_API_TOKENS in the field above.";
  return `Nothing was done: ${problem?.detail ?? `the server answered ${status}`}.`;
}

async function post(button) {
  if (!(await confirmed(button.dataset.question, button.textContent.trim()))) return;
  button.disabled = true;
  const headers = { "Content-Type": "application/json" };
  const token = sessionStorage.getItem(KEPT);
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    const answer = await fetch(button.dataset.post, { method: "POST", headers, body: button.dataset.body || undefined, signal: AbortSignal.timeout(20000) });
    const said = await answer.json().catch(() => null);
    if (answer.ok) {
      report(button.dataset.done, "good");
      follow(); // anew, to see at once what came of it
    } else {
      report(reasonOf(answer.status, said), "bad");
    }
    if (answer.status === 401) document.getElementById("token")?.focus();
  } catch {
    report("The server did not answer; look again whether it was done.", "bad");
  }
  button.disabled = false;
}

function showToken() {
  const state = document.getElementById("token-state");
  if (state) state.textContent = sessionStorage.getItem(KEPT) ? "A token is kept." : "";
}

// One listener for all: buttons come and go with the parts.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-post]");
  if (button) post(button);
});
for (const button of dialog.querySelectorAll("button")) button.addEventListener("click", () => dialog.close(button.value));
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const token = form.elements.token.value.trim();
  if (token) sessionStorage.setItem(KEPT, token);
  form.reset();
  showToken();
});
document.getElementById("token-forget")?.addEventListener("click", () => {
  sessionStorage.removeItem(KEPT);
  showToken();
});
showToken();
