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

function sendQuery(query, variables, signal) {
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
  const controller = (sending = new AbortController());
  field("stop").disabled = false;
  outcome.textContent = "Sending …";
  try {
    const response = await sendQuery(field("query").value, variables, controller.signal);
    const text = await response.text();
    const version = response.headers.get("broker-token-version");
    const line = document.createElement("p");
    line.textContent =
      `${response.status} ${response.statusText}, ` +
      (version ? `from the bank, token version ${version}` : "from the broker") +
      (response.headers.has("server-timing") ? `; ${response.headers.get("server-timing")}` : "");
    const shown = document.createElement("pre");
    shown.tabIndex = 0;
    shown.textContent = formatted(text);
    outcome.replaceChildren(line, shown);
    outcome.scrollIntoView({ block: "nearest" });
  } catch (error) {
    outcome.textContent = controller.signal.aborted ? "Stopped." : `No response: ${error.message}`;
  } finally {
    if (sending === controller) field("stop").disabled = true;
  }
}

function formatted(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function listConnections() {
  const options = { headers: headers(), credentials: "omit" };
  const response = await fetch(`${up}v1/connections?status=active&limit=200`, options);
  const page = await response.json();
  if (!response.ok) {
    field("list-status").textContent = page.detail;
    return;
  }
  const choices = page.items.map((item) => new Option(`${item.user_id}, ${item.created_at}`, item.id));
  field("connections").replaceChildren(...choices);
  if (page.items.length) field("connection").value = page.items[0].id;
  field("list-status").textContent = `${page.items.length} active connections; the newest is selected.`;
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
  const status = field("schema-status");
  if (!form.reportValidity()) return;
  status.textContent = "Loading …";
  try {
    const result = await (await sendQuery(INTROSPECTION, null)).json();
    if (!result.data?.__schema) {
      status.textContent = `The bank does not allow introspection: ${result.errors?.[0]?.message ?? "no reason given"}`;
      return;
    }
    const types = result.data.__schema.types.filter((type) => !type.name.startsWith("__"));
    field("schema").replaceChildren(...types.map(describeType));
    field("schema-search").hidden = false;
    status.textContent = `${types.length} types`;
  } catch (error) {
    status.textContent = `No response: ${error.message}`;
  }
}

function describeType(type) {
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const name = document.createElement("code");
  name.textContent = type.name;
  summary.append(name, ` ${type.kind.toLowerCase().replace("_", " ")}`);
  const list = document.createElement("ul");
  for (const member of type.fields ?? type.inputFields ?? type.enumValues ?? type.possibleTypes ?? []) {
    const item = document.createElement("li");
    const signature = document.createElement("code");
    const args = member.args?.length ? `(${member.args.map((arg) => `${arg.name}: ${typeName(arg.type)}`).join(", ")})` : "";
    signature.textContent = `${member.name}${args}${member.type ? `: ${typeName(member.type)}` : ""}`;
    item.append(signature, member.description ? ` ${member.description}` : "");
    list.append(item);
  }
  details.append(summary, type.description ?? "", list);
  return details;
}

function typeName(type) {
  if (type.kind === "NON_NULL") return `${typeName(type.ofType)}!`;
  return type.kind === "LIST" ? `[${typeName(type.ofType)}]` : type.name;
}

function filterSchema() {
  const text = field("search").value.trim().toLowerCase();
  for (const type of field("schema").children) {
    type.hidden = text !== "" && !type.textContent.toLowerCase().includes(text);
  }
}
