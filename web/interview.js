/* The interview page: open and close all folds at once, and open them for print. */
(() => {
  "use strict";
  const folds = [...document.querySelectorAll("details.interview-fold")];

  document.querySelectorAll("button[data-interview]").forEach((button) => {
    button.hidden = false; /* without scripts it would do nothing */
    button.addEventListener("click", () => {
      folds.forEach((fold) => { fold.open = button.dataset.interview === "open"; });
    });
  });

  /* The style sheet opens folds on paper; older browsers cannot, so the script does it too. */
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = folds.filter((fold) => !fold.open);
    closed.forEach((fold) => { fold.open = true; });
  });
  window.addEventListener("afterprint", () => closed.forEach((fold) => { fold.open = false; }));
})();
