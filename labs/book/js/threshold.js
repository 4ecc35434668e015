/* One classifier at any threshold and any share of positives: precision, recall, ROC and
   precision-recall, from the scores of real test items.
   ui.data: systems {name: {positive, negative: sorted scores in thousandths}}, prevalences [share],
   start {system, threshold in hundredths, prevalence}. tests/test_threshold_page.py compares with
   scikit-learn. An item is flagged when its score is at least the threshold. */
Explorable.register("threshold", (ui) => {
  const { systems, prevalences, start } = ui.data;
  const { percent, fixed } = ui.format;

  ui.select({ name: "system", label: "Classifier", options: Object.keys(systems).map((name) => [name, name]), value: start.system });
  ui.slider({ name: "threshold", label: "Threshold", min: 0, max: 100, value: start.threshold, show: (t) => fixed(t / 100) });
  ui.slider({ name: "prevalence", label: "Share of positives", steps: prevalences, value: start.prevalence, show: (x) => percent(x, 0) });

  const rate = (scores, limit) => scores.filter((s) => s >= limit).length / scores.length;
  const precisionOf = (share, tpr, fpr) => (share * tpr) / (share * tpr + (1 - share) * fpr);

  /** All corners of both curves, from the highest score down: [tpr, fpr]. */
  function walk({ positive, negative }) {
    const limits = [...new Set([...positive, ...negative])].sort((a, b) => b - a);
    const points = [];
    let [i, j] = [positive.length, negative.length];
    for (const limit of limits) {
      while (i > 0 && positive[i - 1] >= limit) i -= 1;
      while (j > 0 && negative[j - 1] >= limit) j -= 1;
      points.push([1 - i / positive.length, 1 - j / negative.length]);
    }
    return points;
  }
  const corners = Object.fromEntries(Object.entries(systems).map(([name, s]) => [name, walk(s)]));

  function areas(points, share) {
    let [auc, ap, tpr0, fpr0] = [0, 0, 0, 0];
    for (const [tpr, fpr] of points) {
      auc += ((tpr + tpr0) / 2) * (fpr - fpr0);
      if (tpr > tpr0) ap += (tpr - tpr0) * precisionOf(share, tpr, fpr);
      [tpr0, fpr0] = [tpr, fpr];
    }
    return { auc, ap };
  }

  const score = (x) => (Number.isNaN(x) ? "–" : fixed(x, 3));
  const outputs = {};
  for (const [name, label] of [["precision", "precision"], ["recall", "recall"], ["f1", "F1"], ["accuracy", "accuracy"],
    ["fpr", "false-positive rate"], ["auc", "area under ROC"], ["ap", "average precision"], ["alarms", "false alarms per hit"]]) {
    outputs[name] = ui.output({ name, label, show: score, live: name === "precision" });
  }

  // Three panels of one size; each is an SVG with its own axes.
  const [W, H, LEFT, BOTTOM, TOP] = [240, 220, 38, 36, 22];
  const X = (x) => LEFT + x * (W - LEFT - 8);
  const Y = (y) => H - BOTTOM - y * (H - BOTTOM - TOP);
  const text = (x, y, words, extra = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 12, "text-anchor": "middle", ...extra }, words);
  function frame(title, across, up) {
    const ticks = [0, 0.5, 1].flatMap((v) => [
      text(X(v), H - BOTTOM + 15, String(v), { "font-size": 11 }),
      up ? text(LEFT - 5, Y(v) + 4, String(v), { "font-size": 11, "text-anchor": "end" }) : null,
    ]);
    return [
      ui.svg("rect", { x: X(0), y: Y(1), width: X(1) - X(0), height: Y(0) - Y(1), fill: "none", stroke: "var(--line)" }),
      ...ticks, text(X(0.5), 14, title, { "font-weight": 600 }), text(X(0.5), H - 4, across),
      up ? text(10, Y(0.5), up, { transform: `rotate(-90 10 ${Y(0.5)})` }) : null,
    ];
  }
  const pictures = ["scores", "roc", "pr"].map((name) =>
    ui.svg("svg", { viewBox: `0 0 ${W} ${H}`, width: W, role: "img", "data-picture": name, style: "flex:1 1 11.5rem;min-width:0;max-width:17rem;height:auto" }));
  ui.stage.append(ui.html("div", { style: "display:flex;flex-wrap:wrap;gap:.5rem 1rem" }, pictures));
  const curve = (points, extra = {}) => ui.svg("polyline", {
    points: points.map(([x, y]) => `${X(x).toFixed(1)},${Y(y).toFixed(1)}`).join(" "),
    fill: "none", stroke: "currentColor", "stroke-width": 1.8, ...extra,
  });
  const dot = (x, y) => ui.svg("circle", { cx: X(x), cy: Y(y), r: 6, fill: "var(--accent)", stroke: "currentColor", "stroke-width": 1.5 });

  /** Shares of a class in 20 bins of the score. */
  function bins(scores) {
    const found = new Array(20).fill(0);
    scores.forEach((s) => { found[Math.min(19, Math.floor(s / 50))] += 1 / scores.length; });
    return found;
  }
  function histogram({ positive, negative }, v) {
    const [hits, rest] = [bins(positive).map((x) => x * v.prevalence), bins(negative).map((x) => x * (1 - v.prevalence))];
    const top = Math.max(...hits, ...rest);
    const wide = (X(1) - X(0)) / 20;
    const bars = (values, extra) => values.map((x, i) => ui.svg("rect", {
      x: X(i / 20) + 0.5, width: wide - 1, y: Y(x / top), height: Y(0) - Y(x / top), ...extra,
    }));
    const line = X(v.threshold / 100);
    return [
      ...bars(rest, { fill: "none", stroke: "currentColor" }), ...bars(hits, { fill: "var(--accent)", opacity: 0.75 }),
      ui.svg("line", { x1: line, x2: line, y1: Y(1), y2: Y(0), stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "4 3" }),
    ];
  }

  return (v) => {
    const system = systems[v.system];
    const points = corners[v.system];
    const [tpr, fpr] = [rate(system.positive, 10 * v.threshold), rate(system.negative, 10 * v.threshold)];
    const share = v.prevalence;
    const precision = precisionOf(share, tpr, fpr);
    const { auc, ap } = areas(points, share);
    const results = {
      precision, recall: tpr, fpr, auc, ap, f1: (2 * share * tpr) / (share * tpr + (1 - share) * fpr + share),
      accuracy: share * tpr + (1 - share) * (1 - fpr), alarms: ((1 - share) * fpr) / (share * tpr),
    };
    for (const [name, x] of Object.entries(results)) outputs[name].put(Number.isFinite(x) ? x : NaN);

    const [scores, roc, pr] = pictures;
    scores.replaceChildren(...frame("scores", "score; filled: positives").filter(Boolean), ...histogram(system, v));
    roc.replaceChildren(...frame("ROC", "false-positive rate", "recall").filter(Boolean),
      curve([[0, 0], ...points.map(([t, f]) => [f, t])]), dot(fpr, tpr));
    pr.replaceChildren(...frame("precision-recall", "recall", "precision").filter(Boolean),
      curve(points.filter(([t]) => t > 0).map(([t, f]) => [t, precisionOf(share, t, f)])),
      ...(Number.isNaN(precision) ? [] : [dot(tpr, precision)]));
    scores.setAttribute("aria-label", `Scores of both classes at ${percent(share, 0)} positives, threshold ${fixed(v.threshold / 100)}.`);
    roc.setAttribute("aria-label", `ROC curve, area ${fixed(auc, 3)}; at this threshold recall ${score(tpr)}, false-positive rate ${score(fpr)}.`);
    pr.setAttribute("aria-label", `Precision-recall curve, average precision ${fixed(ap, 3)}; at this threshold precision ${score(precision)}, recall ${score(tpr)}.`);
  };
});
