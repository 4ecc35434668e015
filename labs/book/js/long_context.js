/* KV cache and cost of a long prompt: the arithmetic of labs/model/serving.py, at every change.
   ui.data: models {name: {layers, width, embedding, cached {kind: n}, weights {kind: n}}},
   patterns {name: [part, whole]}, ropeOfMla, start {control: value}.
   tests/test_long_context_page.py compares it with Python. */
Explorable.register("long_context", (ui) => {
  const { models, patterns, ropeOfMla, start } = ui.data;
  const { significant, percent } = ui.format;
  const words = (names) => names.map((name) => [name, name]);
  const powers = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => 2 ** (low + i));
  const count = (n) => (n >= 1024 ? `${n / 1024} Ki` : `${n}`);
  const GIB = 2 ** 30;
  /** 131072 -> "128 KiB": binary prefixes, 1 KiB = 1024 B. */
  function bytes(n) {
    const step = n < 1 ? 0 : Math.min(4, Math.floor(Math.log2(n) / 10));
    return `${significant(n / 1024 ** step, 3)} ${["B", "KiB", "MiB", "GiB", "TiB"][step]}`;
  }
  const sold = (g) => `${g} GB, or ${significant((g * 1e9) / GIB, 3)} GiB`; // GPUs are sold in GB

  ui.select({ name: "model", label: "Model", options: words(Object.keys(models)), value: start.model });
  ui.select({ name: "kind", label: "Keys and values", options: [["MHA", "MHA: one pair a head"], ["GQA", "GQA: 8 pairs"], ["MQA", "MQA: one pair"], ["MLA", "MLA: one latent"]], value: start.kind });
  ui.slider({ name: "tokens", label: "Tokens of context", steps: powers(10, 20), value: start.tokens, show: count });
  ui.select({ name: "pattern", label: "Sliding window in", options: words(Object.keys(patterns)), value: start.pattern });
  ui.slider({ name: "window", label: "Window, tokens", steps: powers(9, 15), value: start.window, show: count });
  ui.select({ name: "bits", label: "Cache precision", options: [16, 8, 4].map((b) => [b, `${b} bit`]), value: start.bits });
  ui.slider({ name: "batch", label: "Sequences at once", steps: powers(0, 8), value: start.batch });
  ui.select({ name: "gpu", label: "Memory", options: [24, 80, 141, 640].map((g) => [g, (g === 640 ? "8 GPUs, " : "") + sold(g)]), value: start.gpu });

  const outputs = {
    token: ui.output({ name: "token", label: "cache for one more token", show: bytes }),
    kept: ui.output({ name: "kept", label: "cache of one sequence", show: bytes }),
    all: ui.output({ name: "all", label: "weights and caches", show: bytes, live: true }),
    most: ui.output({ name: "most", label: "sequences that fit" }),
    read: ui.output({ name: "read", label: "read to decode one token of one sequence", show: bytes }),
    prefill: ui.output({ name: "prefill", label: "prefill of one sequence", show: (x) => `${significant(x / 1e15, 3)} PFLOP` }),
    share: ui.output({ name: "share", label: "of it attention", show: (x) => percent(x) }),
  };

  /** As labs.model.serving.visible_pairs. */
  function pairs(tokens, window) {
    const w = Math.min(window, tokens);
    return (w * (w + 1)) / 2 + (tokens - w) * w;
  }

  /** As labs.model.serving.cost, for `tokens` tokens; weights are kept in 16 bits. */
  function cost(v, tokens) {
    const model = models[v.model];
    const [part, whole] = patterns[v.pattern];
    const local = Math.floor((model.layers * part) / whole);
    const far = model.layers - local;
    const size = (model.cached[v.kind] * v.bits) / 8;
    const kept = size * (far * tokens + local * Math.min(tokens, v.window));
    const read = 2 * model.weights[v.kind];
    const weights = read + 2 * model.embedding; // in memory; of the embeddings a token reads one row
    const perPair = (4 + (v.kind === "MLA" ? 2 * ropeOfMla : 0)) * model.width;
    const attention = perPair * (far * pairs(tokens, tokens) + local * pairs(tokens, v.window));
    const linear = 2 * model.weights[v.kind] * tokens;
    const growing = far + (tokens < v.window ? local : 0);
    return { kept, weights, read, linear, attention, token: size * growing };
  }

  const [LEFT, RIGHT, TOP, HIGH] = [88, 16, 12, 190];
  const picture = ui.svg("svg", { role: "img" });
  const legend = ui.html("p", { style: "margin:0 0 .3rem;font-size:.85rem" },
    "GiB of weights (below) and caches (above) against tokens of context; dashed: the memory.");
  ui.stage.append(legend, picture);
  const text = (x, y, label, extra = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 13, ...extra }, label);
  const axis = powers(10, 20);

  function draw(v, width) {
    const at = axis.map((tokens) => ({ tokens, weights: cost(v, tokens).weights, all: cost(v, tokens).weights + v.batch * cost(v, tokens).kept }));
    const [low, high] = [0, 4]; // powers of ten, in GiB
    const y = (n) => TOP + HIGH * (1 - Math.min(1, Math.max(0, (Math.log10(n / GIB) - low) / (high - low))));
    const x = (i) => LEFT + ((width - LEFT - RIGHT) * i) / (axis.length - 1);
    const line = (key) => at.map((p, i) => `${x(i).toFixed(1)},${y(p[key]).toFixed(1)}`).join(" ");
    const here = axis.indexOf(v.tokens);
    const parts = [1, 10, 100, 1000, 10000].map((g) => [
      ui.svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(g * GIB), y2: y(g * GIB), stroke: "currentColor", opacity: 0.2 }),
      text(LEFT - 6, y(g * GIB) + 4, `${g.toLocaleString("en-US")} GiB`, { "text-anchor": "end" }),
    ]).flat();
    const ground = `${x(axis.length - 1)},${TOP + HIGH} ${LEFT},${TOP + HIGH}`;
    parts.push(
      ui.svg("polygon", { points: `${line("all")} ${ground}`, fill: "#d9822b", opacity: 0.35 }),
      ui.svg("polygon", { points: `${line("weights")} ${ground}`, fill: "#3b8fd6", opacity: 0.6 }),
      ui.svg("polyline", { points: line("all"), fill: "none", stroke: "#d9822b", "stroke-width": 2.5 }),
      ui.svg("line", { x1: LEFT, x2: width - RIGHT, y1: y(v.gpu * 1e9), y2: y(v.gpu * 1e9), stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "6 4" }),
      ui.svg("line", { x1: x(here), x2: x(here), y1: TOP, y2: TOP + HIGH, stroke: "currentColor" }),
      ui.svg("circle", { cx: x(here), cy: y(at[here].all), r: 5, fill: "#d9822b", stroke: "currentColor" }),
    );
    for (let i = 0; i < axis.length; i += width < 450 ? 5 : 2) parts.push(text(x(i), TOP + HIGH + 18, count(axis[i]), { "text-anchor": i === 10 ? "end" : "middle" }));
    return parts;
  }

  window.addEventListener("resize", () => ui.redraw());
  return (v) => {
    const now = cost(v, v.tokens);
    const room = v.gpu * 1e9 - now.weights;
    outputs.token.put(now.token);
    outputs.kept.put(now.kept);
    outputs.all.put(now.weights + v.batch * now.kept);
    outputs.most.put(Math.max(0, Math.floor(room / now.kept)));
    outputs.read.put(now.read + now.kept);
    outputs.prefill.put(now.linear + now.attention);
    outputs.share.put(now.attention / (now.linear + now.attention));
    const width = Math.max(280, Math.min(720, ui.figure.clientWidth - 34));
    picture.replaceChildren(...draw(v, width));
    picture.setAttribute("viewBox", `0 0 ${width} ${TOP + HIGH + 26}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label",
      `Memory against context length from 1 Ki to 1,024 Ki tokens. At ${count(v.tokens)} tokens: ${bytes(now.weights)} of weights and ${bytes(v.batch * now.kept)} of caches; the memory is ${sold(v.gpu)}.`);
  };
});
