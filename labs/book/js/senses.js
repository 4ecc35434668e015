/* One word in several sentences: how near its vectors are to each other, layer by layer. The reader
   chooses the layer and the sentence to compare with; means and neighbours are computed here.
   ui.data: word, senses [names], sentences [[text, sense index]], cosines [layer][i][j] in
   thousandths, start {layer, sentence}. tests/test_senses_page.py compares with Python. */
Explorable.register("senses", (ui) => {
  const { word, senses, sentences, cosines, start } = ui.data;
  const MARKS = ["●", "▲", "■", "◆"];
  const COLORS = ["#3b8fd6", "#d9822b", "#2aa17a", "#c06bb3"];
  const N = sentences.length;
  const short = (text) => (text.length > 34 ? `${text.slice(0, 32)}…` : text);

  ui.slider({
    name: "layer", label: "Layer", min: 0, max: cosines.length - 1, value: start.layer,
    show: (n) => (n === 0 ? "0: word embedding" : n === 1 ? "1: with position, normed" : `${n}: after block ${n - 1}`),
  });
  ui.select({
    name: "sentence", label: `“${word}” in`, value: start.sentence,
    options: sentences.map(([text, sense], i) => [i, `${MARKS[sense]} ${senses[sense]}: ${short(text)}`]),
  });

  const same = ui.output({ name: "same", label: "mean cosine, same sense", show: (x) => ui.format.fixed(x, 3) });
  const other = ui.output({ name: "other", label: "mean cosine, other senses", show: (x) => ui.format.fixed(x, 3) });
  const nearest = ui.output({
    name: "nearest", label: "nearest", live: true,
    show: (i) => (i < 0 ? "all equally near" : `${MARKS[sentences[i][1]]} ${senses[sentences[i][1]]}`),
  });
  const right = ui.output({ name: "right", label: "sentences whose nearest has the same sense", show: (n) => `${n} of ${N}` });

  const rows = sentences.map(([text, sense]) => {
    const bar = ui.html("div", { style: `height:.55rem;background:${COLORS[sense]}` });
    const number = ui.html("span", { style: "margin-left:auto;padding-left:.6rem;font-variant-numeric:tabular-nums" });
    const line = ui.html("div", { style: "display:flex;gap:.4rem;font-size:.86rem;line-height:1.3" },
      ui.html("span", { "aria-hidden": "true", style: `color:${COLORS[sense]}` }, MARKS[sense]),
      ui.html("span", {}, `${senses[sense]}: ${text}`), number);
    return { bar, number, line, box: ui.html("div", { style: "padding:.2rem .3rem" }, line, bar) };
  });
  ui.stage.append(ui.html("div", {}, rows.map((row) => row.box)));

  const mean = (xs) => xs.reduce((a, b) => a + b, 0) / xs.length;
  /** The nearest other sentence of i, or -1 where all are equally near (layer 0). */
  function neighbour(layer, i) {
    const others = sentences.map((_, j) => j).filter((j) => j !== i);
    const values = others.map((j) => cosines[layer][i][j]);
    if (Math.max(...values) === Math.min(...values)) return -1;
    return others[values.indexOf(Math.max(...values))];
  }

  return (v) => {
    const i = v.sentence;
    const row = cosines[v.layer][i].map((c) => c / 1000);
    const others = sentences.map((_, j) => j).filter((j) => j !== i);
    same.put(mean(others.filter((j) => sentences[j][1] === sentences[i][1]).map((j) => row[j])));
    other.put(mean(others.filter((j) => sentences[j][1] !== sentences[i][1]).map((j) => row[j])));
    nearest.put(neighbour(v.layer, i));
    right.put(sentences.filter(([, sense], j) => {
      const n = neighbour(v.layer, j);
      return n >= 0 && sentences[n][1] === sense;
    }).length);
    rows.forEach((r, j) => {
      r.bar.style.width = `${Math.max(0, 100 * row[j])}%`;
      r.bar.style.opacity = j === i ? 0.25 : 1;
      r.number.textContent = j === i ? "chosen" : ui.format.fixed(row[j], 2);
      r.box.style.outline = j === i ? "1px solid var(--line)" : "none";
    });
  };
});
