/* An unanswered exercise becomes a form on the page. It judges as labs/book/exercises.py does. */
(() => {
  "use strict";

  const folded = (words) => words.toLowerCase().trim().replace(/\s+/g, " ").replace(/\s*,\s*/g, ",");

  /* What was typed, as `wanted` has it: a number or a truth where one is wanted, else the words. */
  function read(typed, wanted) {
    if (typeof wanted === "boolean") return { yes: true, true: true, no: false, false: false }[folded(typed)];
    if (typeof wanted !== "number") return typed;
    const plain = typed.replace(/[−–]/g, "-").replace(/[,\s_](?=\d{3}\b)/g, "").replace("%", "e-2");
    return plain.trim() ? Number(plain) : NaN;
  }

  function equal(typed, wanted, key) {
    if (wanted !== null && typeof wanted === "object") {
      return Object.keys(wanted).every((name) => equal(typed[name], wanted[name], key));
    }
    const given = read(typed, wanted);
    if (typeof wanted === "string") return folded(given) === folded(wanted);
    if (typeof wanted !== "number") return given === wanted;
    const slack = Math.max(key.absolute, key.relative * Math.max(Math.abs(given), Math.abs(wanted)));
    return Math.abs(given - wanted) <= slack;
  }

  function judge(given, key) {
    if (equal(given, key.answer, key)) return ["accepted", "Accepted."];
    const known = key.mistakes.find(([wrong]) => equal(given, wrong, key));
    return ["hint", `Not yet. ${known ? known[1] : key.hint}`];
  }

  function form(box) {
    const key = JSON.parse(box.dataset.key);
    const parts = typeof key.answer === "object" ? Object.entries(key.answer) : [["", key.answer]];
    if (!("answer" in key) || parts.some(([, part]) => typeof part === "object")) return;
    const said = Object.assign(document.createElement("output"), { className: "exercise-said" });
    const inputs = parts.map(([name], i) => {
      const input = Object.assign(document.createElement("input"), { autocomplete: "off", spellcheck: false });
      const label = Array.isArray(key.answer) ? `${i + 1} of ${parts.length}` : name;
      input.setAttribute("aria-label", `Exercise ${box.dataset.exercise}, your answer ${label}`.trim());
      if (label) input.placeholder = label;
      return input;
    });
    const line = document.createElement("form");
    line.append(...inputs, Object.assign(document.createElement("button"), { textContent: "Check" }), said);
    line.addEventListener("submit", (event) => {
      event.preventDefault();
      const given = Object.fromEntries(parts.map(([name], i) => [name, inputs[i].value]));
      const [state, words] = judge(typeof key.answer === "object" ? given : given[""], key);
      box.className = `exercise exercise-${state}`;
      said.textContent = words;
    });
    box.querySelector("p").textContent = box.querySelector("p").textContent.replace(" in place of the dots", "");
    box.append(line);
  }

  document.querySelectorAll(".exercise[data-key]").forEach(form);
})();
