"use strict";

// Adds a copy button to each code block, and a choice of language if steps are shown in several languages.
const LANGUAGES = { sh: "Shell", python: "Python", js: "JavaScript" };
const blocks = [...document.querySelectorAll("main pre")].filter((block) => !block.closest(".outcome"));

const languageOf = (block) => /^language-(\w+)/.exec(block?.firstElementChild?.className ?? "")?.[1];

// Groups of adjacent blocks: the same step in several languages.
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
  const stored = localStorage.getItem("language");
  const selected = stored in LANGUAGES ? stored : "";
  for (const [value, name] of [...Object.entries(LANGUAGES), ["", "all languages"]]) {
    const label = document.createElement("label");
    const radio = document.createElement("input");
    Object.assign(radio, { type: "radio", name: "language", value, checked: value === selected });
    radio.addEventListener("change", () => choose(value));
    label.append(radio, ` ${name}`);
    choice.append(label);
  }
  document.querySelector("main h1").after(choice);
  choose(selected);
}

function choose(language) {
  localStorage.setItem("language", language);
  for (const group of steps) {
    const isAvailable = group.some((block) => languageOf(block) === language);
    for (const block of group) {
      const shown = !isAvailable || languageOf(block) === language;
      (block.closest(".code") ?? block).hidden = !shown;
    }
  }
}

function offerCopy(block) {
  const wrapper = document.createElement("div");
  wrapper.className = "code";
  wrapper.hidden = block.hidden;
  block.hidden = false;
  block.replaceWith(wrapper);
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  wrapper.append(block, button);
}
