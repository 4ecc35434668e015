/* Does the second span follow? The reader judges real pairs; a bag of words judges all of them by one
   threshold on its cosine. ui.data: kinds [[key, label]], positives and negatives {key: [cosines in
   thousandths]}, pairs {key: [{first, second, next, cosine}]}, threshold (thousandths, at the start).
   tests/test_nsp_pairs_page.py compares with Python. */
Explorable.register("nsp_pairs", (ui) => {
  const { kinds, positives, negatives, pairs, threshold } = ui.data;
  const BLUE = "#3b8fd6", ORANGE = "#d9822b";
  const said = {};  // the reader's verdicts: {kind: {pair: true or false}}
  kinds.forEach(([key]) => { said[key] = {}; });
  const count = Math.min(...kinds.map(([key]) => pairs[key].length));

  ui.select({ name: "kind", label: "A second span that does not follow is", options: kinds, value: kinds[0][0] });
  ui.slider({ name: "pair", label: "Pair", min: 1, max: count, step: 1, value: 1 });
  ui.slider({ name: "threshold", label: "The bag of words says “next” from cosine", min: 0, max: 500, step: 5, value: threshold, show: (t) => ui.format.fixed(t / 1000, 3) });

  const percent = (x) => ui.format.percent(x, 1);
  const words = (x) => (x === "" ? "judge first" : x);
  const cosine = ui.output({ name: "cosine", label: "cosine of this pair", show: (x) => ui.format.fixed(x / 1000, 3) });
  const bag = ui.output({ name: "bag", label: "the bag of words says" });
  const truth = ui.output({ name: "truth", label: "the text says", show: words, live: true });
  const score = ui.output({ name: "score", label: "you, on this kind" });
  const kept = ui.output({ name: "kept", label: "next spans found", show: percent });
  const fooled = ui.output({ name: "fooled", label: "others taken for next", show: percent });
  const accuracy = ui.output({ name: "accuracy", label: "accuracy of the bag of words", show: percent });

  const box = (title) => {
    const text = ui.html("p", { style: "margin:.2rem 0 .6rem;padding:.4rem .6rem;border-left:3px solid var(--line);min-height:6rem" });
    ui.stage.append(ui.html("strong", {}, title), text);
    return text;
  };
  const first = box("A"), second = box("B");
  const judge = (verdict) => () => {
    const { kind, pair } = ui.values;
    if (!(pair in said[kind])) said[kind][pair] = verdict;
    ui.redraw();
  };
  ui.resets.push(() => kinds.forEach(([key]) => { said[key] = {}; }));
  const button = (name, label, verdict) => ui.html("button", {
    type: "button", "data-judge": name, onclick: judge(verdict),
    style: "min-height:2rem;margin-right:.6rem;padding:.2rem .8rem;font:inherit;color:inherit;background:none;border:1px solid currentColor;border-radius:4px",
  }, label);
  ui.stage.append(ui.html("div", { role: "group", "aria-label": "Your verdict" },
    button("next", "B follows A", true), button("other", "B does not follow", false)));
  const picture = ui.svg("svg", { viewBox: "0 0 340 150", role: "img", style: "max-width:34rem;width:100%;margin-top:.8rem" });
  ui.stage.append(picture);

  const BINS = 20, WIDE = 25;  // thousandths; what lies above goes into the last bin
  function histogram(cosines) {
    const bins = Array(BINS).fill(0);
    cosines.forEach((c) => { bins[Math.min(BINS - 1, Math.floor(c / WIDE))] += 1; });
    return bins;
  }
  function draw(v, kept, fooled) {
    const up = histogram(positives[v.kind]), down = histogram(negatives[v.kind]);
    const most = Math.max(...up, ...down), middle = 66, unit = 46 / most, step = 320 / BINS;
    const bar = (n, i, above) => ui.svg("rect", { x: 10 + i * step + 1, y: above ? middle - n * unit : middle, width: step - 2, height: n * unit, fill: above ? BLUE : ORANGE });
    const text = (x, y, t, anchor = "start") => ui.svg("text", { x, y, fill: "currentColor", "font-size": 11, "text-anchor": anchor }, t);
    const at = 10 + (v.threshold / WIDE) * step;
    picture.replaceChildren(
      ...up.map((n, i) => bar(n, i, true)), ...down.map((n, i) => bar(n, i, false)),
      ui.svg("line", { x1: 10, x2: 330, y1: middle, y2: middle, stroke: "currentColor" }),
      ui.svg("line", { x1: at, x2: at, y1: 8, y2: 122, stroke: "currentColor", "stroke-width": 1.5, "stroke-dasharray": "4 3" }),
      text(330, 16, "next, upward", "end"), text(330, 122, "not next, downward", "end"),
      text(10, 140, "0"), text(170, 140, "cosine of the two spans", "middle"), text(330, 140, "0.5 and more", "end"));
    picture.setAttribute("aria-label", `Histograms of cosines: ${percent(kept)} of the next spans and ${percent(fooled)} of the others lie at or above ${v.threshold / 1000}.`);
  }
  const share = (cosines, t) => cosines.filter((c) => c >= t).length / cosines.length;

  return (v) => {
    const pair = pairs[v.kind][v.pair - 1], answers = Object.entries(said[v.kind]);
    first.textContent = pair.first;
    second.textContent = pair.second;
    cosine.put(pair.cosine);
    bag.put(pair.cosine >= v.threshold ? "next" : "not next");
    truth.put(v.pair in said[v.kind] ? (pair.next ? "next" : "not next") : "");
    const right = answers.filter(([i, verdict]) => pairs[v.kind][i - 1].next === verdict).length;
    score.put(`${right} of ${answers.length}`);
    const up = share(positives[v.kind], v.threshold), down = share(negatives[v.kind], v.threshold);
    kept.put(up);
    fooled.put(down);
    accuracy.put((up + 1 - down) / 2);
    draw(v, up, down);
  };
});
