"use strict";

// On a wide page the contents are open beside the text, on a narrow page closed above it.
const contents = document.querySelector(".contents");
const wide = matchMedia("(min-width: 62rem)");
contents.open = wide.matches;
wide.addEventListener("change", () => (contents.open = wide.matches));
for (const link of contents.querySelectorAll("a")) {
  link.addEventListener("click", () => (contents.open = wide.matches));
}

// Elements that may be wider than the page must be scrollable with the keyboard.
for (const element of document.querySelectorAll("pre, table")) element.tabIndex = 0;

const key = document.querySelector("#key");
const keyForm = document.querySelector("#key-form");
keyForm?.addEventListener("submit", (event) => event.preventDefault());
for (const form of document.querySelectorAll("form[data-path]")) form.addEventListener("submit", send);
// Ids in responses fill the forms that need them: a session's id, for example, after a login was started.
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
  const startedAt = performance.now();
  try {
    const response = await fetch(address, { method: form.dataset.method, headers, body, credentials: "omit" });
    const text = await response.text();
    const milliseconds = Math.round(performance.now() - startedAt);
    show(outcome, `${response.status} ${response.statusText}, ${milliseconds} ms`, response, text);
  } catch (error) {
    outcome.textContent = `No response: ${error.message}`;
  }
}

function show(outcome, line, response, text) {
  let shown = text;
  let value;
  try {
    value = JSON.parse(text);
    shown = JSON.stringify(value, null, 2);
    remember(value, response.url);
  } catch {
    // Not JSON: shown as it is.
  }
  const head = document.createElement("p");
  head.textContent = line;
  outcome.replaceChildren(head);
  const version = response.headers.get("broker-token-version");
  if (version) head.append(`, Broker-Token-Version: ${version}`);
  if (response.status === 401 && !key.value) {
    const keyLink = document.createElement("a");
    keyLink.href = "#key";
    keyLink.textContent = "Enter an API key first";
    outcome.append(keyLink);
  }
  if (shown) {
    const code = document.createElement("pre");
    code.tabIndex = 0;
    code.textContent = shown;
    outcome.append(code);
  }
  // Only the member of the response itself: nested values, such as metadata, come from others.
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
