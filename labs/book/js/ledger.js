// Filters the entries of the claim ledger by question, verdict and text. Without it all are shown.
for (const ledger of document.querySelectorAll(".ledger:not([data-ready])")) {
  ledger.dataset.ready = "";
  const form = ledger.querySelector("form");
  const rows = [...ledger.querySelectorAll("tbody tr")];
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  const update = () => {
    const { chapter, verdict, text } = Object.fromEntries(new FormData(form));
    const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const section of ledger.querySelectorAll("section")) {
      let left = 0;
      for (const row of section.querySelectorAll("tbody tr")) {
        row.hidden = (chapter && section.dataset.chapter !== chapter) ||
          (verdict && row.dataset.verdict !== verdict) ||
          !wanted.every((word) => words.get(row).includes(word));
        left += !row.hidden;
      }
      section.hidden = left === 0;
      shown += left;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length} claims`;
  };

  // A link to an entry must find it, whatever the filter hides.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && ledger.contains(target) && target.closest("[hidden]")) { form.reset(); update(); }
    if (target && ledger.contains(target)) target.scrollIntoView();
  };

  form.addEventListener("input", update);
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  for (const [name, value] of new URLSearchParams(location.search)) {
    if (["chapter", "verdict", "text"].includes(name)) form.elements[name].value = value;
  }
  form.hidden = false;
  update();
  if (location.hash) reveal();
  addEventListener("hashchange", reveal);
}
