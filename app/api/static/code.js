"use strict";

// What goes with blocks of code: a button that copies one, and a choice where each step is there in several languages.
const LANGUAGES = { sh: "Shell", python: "Python", js: "JavaScript" };
const blocks = [...document.querySelectorAll("main pre")].filter((one) => !one.closest(".outcome"));

const languageOf = (block) => /^language-(\w+)/.exec(block?.firstElementChild?.className ?? "")?.[1];

// Of the blocks that follow each other directly, those that say the same in other words.
const alternatives = [];
for (const block of blocks) {
  if (!(languageOf(block) in LANGUAGES)) continue;
  const last = alternatives.at(-1);
  if (last && last.at(-1).nextElementSibling === block) last.push(block);
  else alternatives.push([block]);
}
const steps = alternatives.filter((group) => new Set(group.map(languageOf)).size > 1);
if (steps.length) offerLanguages();
if (navigator.clipboard) for (const block of blocks) offerCopy(block);

function offerLanguages() {
  const choice = document.createElement("fieldset");
  choice.className = "languages";
  const legend = document.createElement("legend");
  legend.textContent = "Show each step in";
  choice.append(legend);
  const kept = localStorage.getItem("language");
  const chosen = kept in LANGUAGES ? kept : "";
  for (const [value, name] of [...Object.entries(LANGUAGES), ["", "all of them"]]) {
    const label = document.createElement("label");
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "language", value, checked: value === chosen });
    radio.addEventListener("change", () => choose(value));
    label.append(radio, ` ${name}`);
    choice.append(label);
  }
  document.querySelector("main h1").after(choice);
  choose(chosen);
}

function choose(language) {
  localStorage.setItem("language", language);
  for (const group of steps) {
    const isThere = group.some((block) => languageOf(block) === language);
    for (const block of group) {
      const shown = !isThere || languageOf(block) === language;
      (block.closest(".code") ?? block).hidden = !shown;
    }
  }
}

function offerCopy(block) {
  const around = document.createElement("div");
  around.className = "code";
  around.hidden = block.hidden;
  block.hidden = false;
  block.replaceWith(around);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  around.append(block, button);
}
