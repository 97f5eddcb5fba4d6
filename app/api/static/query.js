"use strict";

const form = document.querySelector("#query-form");
const field = (id) => document.querySelector(`#${id}`);
const up = form.dataset.up;
let sending = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
field("stop").addEventListener("click", () => sending?.abort());
field("list").addEventListener("click", listConnections);
field("load").addEventListener("click", loadSchema);
field("search").addEventListener("input", filterSchema);

function headers() {
  return { Authorization: `Bearer ${field("key").value.trim()}`, "Content-Type": "application/json" };
}

function ask(query, variables, signal) {
  const connection = encodeURIComponent(field("connection").value.trim());
  const body = JSON.stringify({ query, variables });
  const options = { method: "POST", headers: headers(), body, signal, credentials: "omit" };
  return fetch(`${up}v1/connections/${connection}/graphql`, options);
}

async function run() {
  const outcome = field("outcome");
  let variables;
  try {
    variables = JSON.parse(field("variables").value || "null");
  } catch (error) {
    outcome.textContent = `The variables are not JSON: ${error.message}`;
    field("variables").focus();
    return;
  }
  sending?.abort();
  const mine = (sending = new AbortController());
  field("stop").disabled = false;
  outcome.textContent = "Sending …";
  try {
    const answer = await ask(field("query").value, variables, mine.signal);
    const text = await answer.text();
    const version = answer.headers.get("broker-token-version");
    const line = document.createElement("p");
    line.textContent =
      `${answer.status} ${answer.statusText}, ` +
      (version ? `the bank’s answer, token version ${version}` : "the broker’s answer") +
      (answer.headers.has("server-timing") ? `; ${answer.headers.get("server-timing")}` : "");
    const shown = document.createElement("pre");
    shown.tabIndex = 0;
    shown.textContent = readable(text);
    outcome.replaceChildren(line, shown);
    outcome.scrollIntoView({ block: "nearest" });
  } catch (error) {
    outcome.textContent = mine.signal.aborted ? "Stopped." : `No answer: ${error.message}`;
  } finally {
    if (sending === mine) field("stop").disabled = true;
  }
}

function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function listConnections() {
  const options = { headers: headers(), credentials: "omit" };
  const answer = await fetch(`${up}v1/connections?status=active&limit=200`, options);
  const listed = await answer.json();
  if (!answer.ok) {
    field("list-said").textContent = listed.detail;
    return;
  }
  const choices = listed.items.map((one) => new Option(`${one.user_id}, ${one.created_at}`, one.id));
  field("connections").replaceChildren(...choices);
  if (listed.items.length) field("connection").value = listed.items[0].id;
  field("list-said").textContent = `${listed.items.length} active connections; the newest is chosen.`;
}

const TYPE = "name kind ofType { name kind ofType { name kind ofType { name kind } } }";
const INTROSPECTION = `query Schema { __schema { types {
  kind name description
  fields { name description type { ${TYPE} } args { name type { ${TYPE} } } }
  inputFields { name description type { ${TYPE} } }
  enumValues { name description }
  possibleTypes { name }
} } }`;

async function loadSchema() {
  const said = field("schema-said");
  if (!form.reportValidity()) return;
  said.textContent = "Asking the bank …";
  try {
    const answer = await (await ask(INTROSPECTION, null)).json();
    if (!answer.data?.__schema) {
      said.textContent = `The bank does not tell its schema: ${answer.errors?.[0]?.message ?? "no reason given"}`;
      return;
    }
    const types = answer.data.__schema.types.filter((one) => !one.name.startsWith("__"));
    field("schema").replaceChildren(...types.map(shownType));
    field("schema-search").hidden = false;
    said.textContent = `${types.length} types`;
  } catch (error) {
    said.textContent = `No answer: ${error.message}`;
  }
}

function shownType(type) {
  const shown = document.createElement("details");
  const summary = document.createElement("summary");
  const name = document.createElement("code");
  name.textContent = type.name;
  summary.append(name, ` ${type.kind.toLowerCase().replace("_", " ")}`);
  const list = document.createElement("ul");
  for (const one of type.fields ?? type.inputFields ?? type.enumValues ?? type.possibleTypes ?? []) {
    const item = document.createElement("li");
    const signature = document.createElement("code");
    const args = one.args?.length ? `(${one.args.map((arg) => `${arg.name}: ${written(arg.type)}`).join(", ")})` : "";
    signature.textContent = `${one.name}${args}${one.type ? `: ${written(one.type)}` : ""}`;
    item.append(signature, one.description ? ` ${one.description}` : "");
    list.append(item);
  }
  shown.append(summary, type.description ?? "", list);
  return shown;
}

function written(type) {
  if (type.kind === "NON_NULL") return `${written(type.ofType)}!`;
  return type.kind === "LIST" ? `[${written(type.ofType)}]` : type.name;
}

function filterSchema() {
  const wanted = field("search").value.trim().toLowerCase();
  for (const type of field("schema").children) {
    type.hidden = wanted !== "" && !type.textContent.toLowerCase().includes(wanted);
  }
}
