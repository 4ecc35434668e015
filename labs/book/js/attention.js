/* One head's weights on a real sentence. The reader chooses the query token, the layer and the head,
   and whether scores are scaled and masked: softmax is computed here, from the raw scores q·k.
   ui.data: tokens [T words], d_head, scores [layer][head][query][key] in thousandths,
   start {layer, head, query}, counted from 0. tests/test_explorable_attention.py compares with Python. */
Explorable.register("attention", (ui) => {
  const { tokens, d_head, scores, start } = ui.data;
  const T = tokens.length;
  const one = (n, of) => `${n} of ${of}`;

  ui.slider({ name: "layer", label: "Layer", min: 1, max: scores.length, value: start.layer + 1, show: (n) => one(n, scores.length) });
  ui.slider({ name: "head", label: "Head", min: 1, max: scores[0].length, value: start.head + 1, show: (n) => one(n, scores[0].length) });
  ui.toggle({ name: "scaled", label: `Divide scores by √${d_head}`, value: true });
  ui.toggle({ name: "causal", label: "Causal mask", value: true });
  ui.values.query = start.query;
  ui.resets.push(() => { ui.values.query = start.query; });

  /** Softmax of one query's scores over the keys that it may see; 0 for the others. */
  function row(v, query) {
    const scale = v.scaled ? 1 / Math.sqrt(d_head) : 1;
    const raw = scores[v.layer - 1][v.head - 1][query].map((s) => (s / 1000) * scale);
    const seen = raw.map((_, key) => !v.causal || key <= query);
    const top = Math.max(...raw.filter((_, key) => seen[key]));
    const exp = raw.map((s, key) => (seen[key] ? Math.exp(s - top) : 0));
    const sum = exp.reduce((a, b) => a + b, 0);
    return exp.map((e) => e / sum);
  }
  const entropy = (p) => p.reduce((sum, w) => (w > 0 ? sum - w * Math.log(w) : sum), 0);

  // The sentence: one button a token; its bar is the weight that the query gives it.
  const buttons = tokens.map((word, i) => ui.html("button", {
    type: "button", class: "attention-token", "data-token": i,
    onfocus: () => ui.set("query", i), onclick: () => ui.set("query", i),
    onkeydown: (event) => {
      const to = { ArrowLeft: i - 1, ArrowUp: i - 1, ArrowRight: i + 1, ArrowDown: i + 1, Home: 0, End: T - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      buttons[Math.min(T - 1, Math.max(0, to))].focus();
    },
  }, ui.html("span", { class: "attention-word" }, word), ui.html("span", { class: "attention-bar" }), ui.html("span", { class: "attention-percent" })));
  const under = (event) => document.elementFromPoint(event.clientX, event.clientY)?.closest(".attention-token");
  const sentence = ui.html("div", {
    class: "attention-sentence", role: "group",
    "aria-label": "Tokens. The chosen one asks; the percentages say where its head looks. Arrow keys move.",
    onpointermove: (event) => {
      const token = under(event);
      if (token && sentence.contains(token)) ui.set("query", Number(token.dataset.token));
    },
  }, buttons);

  // The whole map: row = query, column = key; a row under the pointer becomes the query.
  const CELL = 12, LEFT = 62, TOP = 62, SIDE = CELL * T;
  const cells = tokens.map((_, q) => tokens.map((_, k) => ui.svg("rect", {
    x: LEFT + k * CELL, y: TOP + q * CELL, width: CELL, height: CELL, fill: "var(--accent)",
  })));
  const frame = ui.svg("rect", { x: LEFT, width: SIDE, height: CELL, fill: "none", stroke: "currentColor", "stroke-width": 1.5 });
  const word = (i, across) => ui.svg("text", {
    "font-size": 10, fill: "currentColor", "text-anchor": across ? "start" : "end",
    x: across ? 0 : LEFT - 5, y: across ? 0 : TOP + i * CELL + 9.5,
    transform: across ? `translate(${LEFT + i * CELL + 9.5} ${TOP - 5}) rotate(-90)` : null,
  }, tokens[i]);
  const map = ui.svg("svg", {
    viewBox: `0 0 ${LEFT + SIDE + 4} ${TOP + SIDE + 4}`, width: 1.35 * (LEFT + SIDE), class: "attention-map", role: "img",
    onpointermove: (event) => {
      const box = map.getBoundingClientRect();
      const q = Math.floor(((event.clientY - box.top) * (TOP + SIDE + 4) / box.height - TOP) / CELL);
      if (q >= 0 && q < T) ui.set("query", q);
    },
  }, tokens.map((_, i) => [word(i, true), word(i, false)]).flat(), cells.flat(),
    ui.svg("rect", { x: LEFT, y: TOP, width: SIDE, height: SIDE, fill: "none", stroke: "var(--line)" }), frame);
  ui.stage.append(sentence, ui.html("div", { class: "attention-square" }, map));

  const asks = ui.output({ name: "query", label: "asks", show: (i) => `${tokens[i]} (token ${i + 1})` });
  let best = [];
  const ranked = ["most", "second", "third"].map((name, n) => ui.output({
    name, label: n ? `looks ${name}-most at` : "looks most at", live: n === 0,
    show: (w) => (best[n] === undefined ? "–" : `${tokens[best[n]]} (${ui.format.percent(w, 0)})`),
  }));
  const spread = ui.output({ name: "entropy", label: "entropy of the row", show: (x) => `${ui.format.fixed(x, 2)} nats` });
  const like = ui.output({ name: "effective", label: "as if evenly over", show: (x) => `${ui.format.fixed(x, 1)} tokens` });

  return (v) => {
    const p = row(v, v.query);
    buttons.forEach((button, i) => {
      const off = v.causal && i > v.query;
      button.setAttribute("aria-pressed", String(i === v.query));
      button.tabIndex = i === v.query ? 0 : -1;
      button.dataset.weight = String(p[i]);
      button.children[1].style.width = `${100 * p[i]}%`;
      button.children[2].textContent = off ? "masked" : ui.format.percent(p[i], 0);
    });
    cells.forEach((line, q) => row(v, q).forEach((w, k) => line[k].setAttribute("fill-opacity", Math.sqrt(w).toFixed(3))));
    frame.setAttribute("y", TOP + v.query * CELL);
    best = p.map((_, k) => k).filter((k) => !v.causal || k <= v.query).sort((a, b) => p[b] - p[a]).slice(0, 3);
    asks.put(v.query);
    ranked.forEach((output, n) => output.put(best[n] === undefined ? 0 : p[best[n]]));
    spread.put(entropy(p));
    like.put(Math.exp(entropy(p)));
    map.setAttribute("aria-label", `Weights of layer ${v.layer}, head ${v.head}: row is the query, column the key, darker is more. ` +
      `${tokens[v.query]} looks most at ${tokens[best[0]]}, ${ui.format.percent(p[best[0]], 0)}.`);
  };
});
