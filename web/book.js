/* Mathematics, and what the theme leaves to do for accessibility. */
(() => {
  "use strict";

  /* Sphinx leaves \( … \) and \[ … \] as text; KaTeX (served with the book) sets it. */
  function setMathematics() {
    document.querySelectorAll(".math").forEach((element) => {
      const text = [...element.childNodes].find((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      const parts = text && text.data.trim().match(/^\\([(\[])([^]*)\\[)\]]$/);
      if (!parts) return;
      const set = document.createElement("span");
      katex.render(parts[2], set, { displayMode: parts[1] === "[", throwOnError: true });
      text.replaceWith(set);
    });
    /* A display formula may be wider than a phone: it scrolls in itself, also by keyboard. */
    document.querySelectorAll("div.math").forEach(makeScrollable);
  }

  /* What is wider than its box scrolls by keyboard too: looked at once a box is laid out or gets
     another size, and again when fonts arrive. All are read before one is changed: one layout. */
  const boxes = new Set();
  function look(some) {
    const wider = some.filter((box) => box.scrollWidth > box.clientWidth + 1);
    wider.forEach((box) => (box.tabIndex = 0));
  }
  const sizes = new ResizeObserver((entries) => look(entries.map((entry) => entry.target)));
  function makeScrollable(element) {
    boxes.add(element);
    sizes.observe(element);
  }
  document.fonts?.addEventListener("loadingdone", () => look([...boxes]));

  /* Names that differ from the visible words, and roles that ARIA 1.3 retires. */
  function mendRoles() {
    document
      .querySelectorAll('summary[aria-label="Toggle hidden content"], .search-button-field[aria-label]')
      .forEach((element) => element.removeAttribute("aria-label"));
    document
      .querySelectorAll(".citation-list, .citation-list [role=doc-biblioentry]")
      .forEach((element) => element.removeAttribute("role"));
  }

  /* Tables that Markdown makes scroll inside themselves; those of outputs bring their own box. */
  function wrapTables() {
    document.querySelectorAll(".bd-article table").forEach((table) => {
      if (table.closest(".table-scroll, .ledger-scroll, .pst-scrollable-table-container")) return;
      const box = document.createElement("div");
      box.className = "table-scroll";
      table.replaceWith(box);
      box.append(table);
      makeScrollable(box);
    });
    document.querySelectorAll(".bd-article pre, .table-scroll").forEach(makeScrollable);
  }

  if (window.katex) setMathematics();
  mendRoles();
  wrapTables();
})();
