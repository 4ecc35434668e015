/* Parameters, training FLOPs and KV cache of a model, from its shape: labs/model/counting.py again.
   ui.data: families {name: has learned positions, biases, LayerNorm, a GELU MLP and a tied head},
   d_ff {name: in widths}, widths, vocabularies, start. tests/test_model_shape_page.py compares. */
Explorable.register("model_shape", (ui) => {
  const { families, d_ff, widths, vocabularies, start } = ui.data;
  const powers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));
  const whole = (x) => x.toLocaleString("en-US");
  const count = (x) => `${ui.format.significant(x / 1e12, 3)} trillion`;

  ui.select({ name: "family", label: "Style", options: Object.keys(families).map((f) => [f, f]), value: start.family });
  ui.slider({ name: "layers", label: "Layers", min: 1, max: 128, value: start.layers });
  ui.slider({ name: "width", label: "Width d", steps: widths, value: start.width });
  ui.slider({ name: "group", label: "Query heads per KV head", steps: [1, 2, 4, 8], value: start.group });
  ui.select({ name: "vocabulary", label: "Vocabulary", options: vocabularies.map((v) => [v, whole(v)]), value: start.vocabulary });
  ui.slider({ name: "context", label: "Context, tokens", steps: powers(8, 17), value: start.context, show: whole });
  ui.slider({ name: "tokens", label: "Training tokens", steps: [0.01e12, 0.1e12, 0.3e12, 1.4e12, 2e12, 5e12, 15e12, 30e12], value: start.tokens, show: count });

  const PARTS = [
    ["embedding", "embedding", "#3b8fd6"],
    ["positions", "learned positions", "#8a8a8a"],
    ["attention", "attention", "#d9822b"],
    ["mlp", "MLP", "#2aa17a"],
    ["norms", "norms", "#b8a12b"],
    ["head", "untied head", "#c06bb3"],
  ];
  function cost(v) {
    const old = families[v.family], bias = old ? 1 : 0;
    const d = v.width, f = Math.floor(d_ff[v.family] * d), dHead = d < 2048 ? 64 : 128;
    const kvHeads = Math.max(1, Math.floor(Math.floor(d / dHead) / v.group)), kv = kvHeads * dHead;
    const up = old ? 1 : 2;
    const matrices = { attention: 2 * d * d + 2 * d * kv, mlp: (up + 1) * d * f };
    const parts = {
      embedding: v.vocabulary * d,
      positions: old ? v.context * d : 0,
      attention: v.layers * (matrices.attention + bias * (2 * d + 2 * kv)),
      mlp: v.layers * (matrices.mlp + bias * (up * f + d)),
      norms: (2 * v.layers + 1) * d * (1 + bias),
      head: old ? 0 : v.vocabulary * d,
    };
    const multiplied = v.layers * (matrices.attention + matrices.mlp) + v.vocabulary * d;
    const flops = 6 * multiplied + 12 * v.layers * v.context * d;
    return {
      ...parts,
      parameters: Object.values(parts).reduce((a, b) => a + b, 0),
      flops,
      training: flops * v.tokens,
      days: (flops * v.tokens) / (1024 * 400e12 * 86400),
      cache: 2 * v.layers * kv * 2,
      full: 2 * v.layers * kv * 2 * v.context,
    };
  }
  const power = (x) => {
    const e = Math.floor(Math.log10(x));
    return `${ui.format.fixed(x / 10 ** e, 2)} × 10^${e}`;
  };
  const outputs = [
    ui.output({ name: "parameters", label: "Parameters", show: whole, live: true }),
    ...PARTS.map(([name, label]) => ui.output({ name, label, show: (x) => ui.format.si(x, "") })),
    ui.output({ name: "flops", label: "FLOPs per training token", show: power }),
    ui.output({ name: "training", label: "FLOPs of the training", show: power }),
    ui.output({ name: "days", label: "Days on 1024 GPUs at 400 TFLOP/s", show: (x) => ui.format.significant(x, 3) }),
    ui.output({ name: "cache", label: "KV cache per token, bf16", show: (x) => `${ui.format.significant(x / 1024, 4)} KiB` }),
    ui.output({ name: "full", label: "KV cache of one full context", show: (x) => `${ui.format.significant(x / 2 ** 30, 3)} GiB` }),
  ];
  const names = ["parameters", ...PARTS.map(([name]) => name), "flops", "training", "days", "cache", "full"];

  const picture = ui.svg("svg", { role: "img", viewBox: "0 0 700 44", style: "width:100%" });
  const legend = ui.html("div", { style: "display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.85rem" },
    PARTS.map(([, label, color]) => ui.html("span", {},
      ui.html("span", { "aria-hidden": "true", style: `display:inline-block;width:.8em;height:.8em;margin-right:.35em;background:${color}` }), label)));
  ui.stage.append(legend, picture);

  return (v) => {
    const found = cost(v);
    outputs.forEach((output, i) => output.put(found[names[i]]));
    let x = 0;
    picture.replaceChildren(...PARTS.flatMap(([name, , color]) => {
      const width = (700 * found[name]) / found.parameters;
      const bar = ui.svg("rect", { x, y: 4, width, height: 34, fill: color });
      x += width;
      return width > 0 ? [bar] : [];
    }));
    picture.setAttribute("aria-label", "Share of the parameters: " +
      PARTS.map(([name, label]) => `${label} ${ui.format.percent(found[name] / found.parameters, 1)}`).join(", "));
  };
});
