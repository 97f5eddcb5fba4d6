"use strict";

// The contents are open beside the page, and closed above it where it is narrow.
const contents = document.querySelector(".contents");
const wide = matchMedia("(min-width: 62rem)");
contents.open = wide.matches;
wide.addEventListener("change", () => (contents.open = wide.matches));
for (const link of contents.querySelectorAll("a")) {
  link.addEventListener("click", () => (contents.open = wide.matches));
}

// What is wider than the page can be scrolled with the keyboard; how wide the page is changes.
for (const one of document.querySelectorAll("pre, table")) one.tabIndex = 0;

const key = document.querySelector("#key");
const keyForm = document.querySelector("#key-form");
keyForm?.addEventListener("submit", (event) => event.preventDefault());
for (const form of document.querySelectorAll("form[data-path]")) form.addEventListener("submit", send);
// What an answer names is offered where it is asked for: a session's id after a login was started.
const known = {};

async function send(event) {
  event.preventDefault();
  const form = event.target;
  const outcome = form.parentElement.querySelector(".outcome");
  const query = new URLSearchParams();
  const headers = new Headers();
  let path = form.dataset.path.slice(1);
  let body;
  if (key.value) headers.set("Authorization", `Bearer ${key.value.trim()}`);
  for (const field of form.querySelectorAll("[data-in]")) {
    const { value, name } = field;
    if (field.dataset.in === "body") {
      body = value;
      headers.set("Content-Type", "application/json");
    } else if (field.dataset.in === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (!value) continue;
    else if (field.dataset.in === "header") headers.set(name, value);
    else query.set(name, value);
  }
  const address = query.size ? `${path}?${query}` : path;
  outcome.textContent = "Sending …";
  const began = performance.now();
  try {
    const answer = await fetch(address, { method: form.dataset.method, headers, body, credentials: "omit" });
    const text = await answer.text();
    const milliseconds = Math.round(performance.now() - began);
    show(outcome, `${answer.status} ${answer.statusText}, ${milliseconds} ms`, answer, text);
  } catch (error) {
    outcome.textContent = `No answer: ${error.message}`;
  }
}

function show(outcome, line, answer, text) {
  let shown = text;
  let value;
  try {
    value = JSON.parse(text);
    shown = JSON.stringify(value, null, 2);
    remember(value, answer.url);
  } catch {
    // Not JSON: shown as it is.
  }
  const head = document.createElement("p");
  head.textContent = line;
  outcome.replaceChildren(head);
  const version = answer.headers.get("broker-token-version");
  if (version) head.append(`, Broker-Token-Version: ${version}`);
  if (answer.status === 401 && !key.value) {
    const above = document.createElement("a");
    above.href = "#key";
    above.textContent = "Type an API key in first";
    outcome.append(above);
  }
  if (shown) {
    const code = document.createElement("pre");
    code.tabIndex = 0;
    code.textContent = shown;
    outcome.append(code);
  }
  // Of the answer itself: what is deeper in it, such as metadata, others have written.
  const link = value?.connect_url;
  if (typeof link === "string" && link.startsWith(`${keyForm.dataset.publicUrl}/connect/`)) {
    const open = document.createElement("a");
    open.href = link;
    open.target = "_blank";
    open.rel = "noreferrer";
    open.textContent = "Open connect_url, and log in as the user";
    outcome.append(open);
  }
}

function remember(value, address) {
  const kind = /\/v1\/(session|connection|webhook|caller)s/.exec(address)?.[1];
  if (kind && value.id) known[`${kind}_id`] = value.id;
  if (value.connection_id) known.connection_id = value.connection_id;
  for (const [name, id] of Object.entries(known)) {
    for (const field of document.querySelectorAll(`[data-in=path][name=${name}]`)) field.value = id;
  }
}
