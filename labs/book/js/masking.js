/* The reader's own sentence, cut into WordPieces and masked. ui.data: page_data of
   labs/train/masking_page.py; split, cut and example repeat labs/text/wordpiece.py and that module.
   tests/test_masking_page.py compares every position and number with Python's. */
Explorable.register("masking", (ui) => {
  const { rates, recipes, longest, draws, start } = ui.data;
  const vocab = ui.data.vocab.split("\n");
  const known = new Set(vocab);
  const ordinary = vocab.filter((piece) => !["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].includes(piece));
  const UNK = "[UNK]", LONGEST_WORD = 100;
  const percent = (share) => ui.format.percent(share, 0).replace(" %", "");

  const input = ui.row("text", "Your sentence", ui.html("input", {
    type: "text", maxlength: longest, spellcheck: "false", autocomplete: "off", class: "masking-text",
    oninput: () => ui.set("text", input.value),
  }));
  input.parentElement.classList.add("masking-wide");
  const put = () => { input.value = ui.data.text; ui.values.text = ui.data.text; };
  ui.resets.push(put);
  put();
  ui.select({ name: "unit", label: "Selected one by one are", options: [["token", "tokens (BERT, 2018)"], ["word", "whole words"]], value: start.unit });
  ui.slider({ name: "rate", label: "Rate", steps: rates, value: start.rate, show: (x) => ui.format.percent(x, 0) });
  ui.select({ name: "recipe", label: "Of the selected: mask / random / kept", options: recipes.map((shares, i) => [i, shares.map(percent).join(" / ")]), value: start.recipe });
  ui.slider({ name: "draw", label: "Draw", min: 1, max: 100, value: start.draw });

  /** Mulberry32: numbers in 0 … 1 from a seed of 32 bits. */
  function uniforms(seed) {
    let state = seed | 0;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  const isSpace = (c) => /[\s\x1c-\x1f\x85]/.test(c) && c !== "\ufeff";
  const isSign = (c) => /[!-/:-@[-`{-~]/.test(c) || /\p{P}/u.test(c);
  const isCjk = (c) => /[\u3400-\u9fff\uf900-\ufaff\u{20000}-\u{2fa1f}]/u.test(c);

  /** Words and single signs in lower case, without accents. */
  function split(text) {
    let out = "";
    for (const c of text.toLowerCase().normalize("NFD")) {
      if (isSpace(c)) out += " ";
      else if (/[\p{Mn}\p{C}]/u.test(c)) continue;
      else out += isSign(c) || isCjk(c) ? ` ${c} ` : c;
    }
    return out.split(" ").filter((word) => word);
  }

  /** Greedy longest match; [UNK] for the whole word when nothing matches. */
  function match(word) {
    const letters = Array.from(word), pieces = [];
    if (letters.length > LONGEST_WORD) return [UNK];
    for (let from = 0, to; from < letters.length; from = to) {
      const piece = (end) => (from ? "##" : "") + letters.slice(from, end).join("");
      for (to = letters.length; to > from && !known.has(piece(to)); to -= 1);
      if (to === from) return [UNK];
      pieces.push(piece(to));
    }
    return pieces;
  }

  function cut(text) {
    const pieces = [], owners = [];
    split(Array.from(text).slice(0, longest).join("")).forEach((word, index) => match(word).forEach((piece) => {
      pieces.push(piece);
      owners.push(index);
    }));
    return { pieces, owners };
  }

  function select({ pieces, owners }, seed, rate, unit) {
    const next = uniforms(seed);
    const drawn = pieces.map(() => next());
    return { chosen: pieces.map((piece, i) => drawn[unit === "word" ? owners[i] : i] < rate && piece !== UNK), next };
  }

  function example(text, v) {
    const { chosen, next } = select(text, v.draw, v.rate, v.unit);
    const fate = text.pieces.map(() => next()), random = text.pieces.map(() => next());
    const [mask, other] = recipes[v.recipe];
    const fates = chosen.map((is, i) => (!is ? "" : fate[i] < mask ? "mask" : fate[i] < mask + other ? "random" : "kept"));
    const inputs = text.pieces.map((piece, i) => ({ mask: "[MASK]", random: ordinary[Math.floor(random[i] * ordinary.length)] })[fates[i]] || piece);
    return { fates, inputs };
  }

  const row = ui.html("ol", { class: "masking-row", "aria-label": "Positions: input, what happened, target" });
  const HEIGHT = 120, WIDTH = 600, BASE = 100;
  const chart = ui.svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "masking-chart" });
  ui.stage.append(row, ui.html("p", { class: "masking-key" }, "Above: the input. Below: the target, with what happened to it. No target, no loss."), chart,
    ui.html("p", { class: "masking-key" }, `How many tokens are selected: bars, ${draws} draws; dots, the binomial distribution.`));

  const whole = (x) => ui.format.fixed(x, 0);
  const out = Object.fromEntries([
    ["tokens", "tokens of the sentence", whole], ["selected", "selected in this draw", whole],
    ["mask", "shown as [MASK]", whole], ["random", "shown as a random token", whole], ["kept", "kept", whole],
    ["wrong", "wrong tokens, expected", (x) => ui.format.fixed(x, 2)],
    ["mean", `selected, mean of ${draws} draws`, (x) => ui.format.fixed(x, 2)], ["expected", "expected", (x) => ui.format.fixed(x, 2)],
    ["spread", `standard deviation of ${draws} draws`, (x) => ui.format.fixed(x, 2)], ["binomial", "if tokens were independent", (x) => ui.format.fixed(x, 2)],
  ].map(([name, label, show]) => [name, ui.output({ name, label, show, live: name === "selected" })]));

  /** Bars: share of draws with k selected tokens. Dots: the binomial distribution. */
  function drawChart(counts, n, rate) {
    const last = Math.max(...counts, Math.min(n, Math.ceil(n * rate + 4 * Math.sqrt(n * rate * (1 - rate)))), 1);
    const seen = Array.from({ length: last + 1 }, (_, k) => counts.filter((x) => x === k).length / counts.length);
    const pmf = [Math.pow(1 - rate, n)];
    for (let k = 1; k <= last; k += 1) pmf.push((pmf[k - 1] * (n - k + 1) * rate) / (k * (1 - rate)));
    const top = Math.max(...seen, ...pmf), step = WIDTH / (last + 1), up = (p) => ((BASE - 8) * p) / top;
    const every = Math.ceil((last + 1) / 20);
    chart.replaceChildren(
      ...seen.map((p, k) => ui.svg("rect", { x: k * step + 0.15 * step, y: BASE - up(p), width: 0.7 * step, height: up(p), fill: "var(--accent)", "fill-opacity": 0.55 })),
      ...pmf.map((p, k) => ui.svg("circle", { cx: (k + 0.5) * step, cy: BASE - up(p), r: 3, fill: "currentColor" })),
      ...pmf.flatMap((_, k) => (k % every ? [] : [ui.svg("text", { x: (k + 0.5) * step, y: HEIGHT - 6, "font-size": 11, "text-anchor": "middle", fill: "currentColor" }, String(k))])),
      ui.svg("line", { x1: 0, x2: WIDTH, y1: BASE, y2: BASE, stroke: "currentColor" }),
    );
    chart.setAttribute("aria-label", `How many of ${n} tokens ${counts.length} draws select: bars; the binomial distribution: dots.`);
  }

  return (v) => {
    const text = cut(v.text), n = text.pieces.length;
    const { fates, inputs } = example(text, v);
    row.replaceChildren(...["[CLS]", ...inputs, "[SEP]"].map((shown, at) => {
      const i = at - 1, fate = fates[i] || "";
      return ui.html("li", { class: fate ? `masking-${fate}` : null, "data-input": shown, "data-fate": fate, "data-target": fate ? text.pieces[i] : "" },
        ui.html("span", {}, shown), ui.html("b", {}, fate ? text.pieces[i] : "–"), ui.html("i", {}, fate || "\u00a0"));
    }));
    const counts = Array.from({ length: draws }, (_, i) => select(text, i + 1, v.rate, v.unit).chosen.filter(Boolean).length);
    const usable = text.pieces.filter((piece) => piece !== UNK).length;
    const mean = counts.reduce((a, b) => a + b, 0) / draws;
    out.tokens.put(n);
    out.selected.put(fates.filter(Boolean).length);
    ["mask", "random", "kept"].forEach((name) => out[name].put(fates.filter((fate) => fate === name).length));
    out.wrong.put(usable * v.rate * recipes[v.recipe][1] * (1 - 1 / ordinary.length));
    out.mean.put(mean);
    out.expected.put(usable * v.rate);
    out.spread.put(Math.sqrt(counts.reduce((sum, x) => sum + (x - mean) ** 2, 0) / draws));
    out.binomial.put(Math.sqrt(usable * v.rate * (1 - v.rate)));
    drawChart(counts, usable, v.rate);
  };
});
