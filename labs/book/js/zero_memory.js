/* Bytes on one GPU by ZeRO stage: the arithmetic of labs/ranks/memory.py, redrawn at every change.
   ui.data: precisions {name: {params, grads, master}}, moments {optimizer: n}, activations [names],
   parameters [n], start {control: value}. tests/test_explorables.py compares it with Python. */
Explorable.register("zero_memory", (ui) => {
  const { precisions, moments, activations, parameters, start } = ui.data;
  const words = (names) => names.map((name) => [name, name]);
  const count = (n) => (n < 1e12 ? `${n / 1e9} billion` : `${n / 1e12} trillion`);
  const gigabytes = (bytes) => `${ui.format.significant(bytes / 1e9, 3)} GB`;
  const powers = (most) => Array.from({ length: Math.log2(most) + 1 }, (_, i) => 2 ** i);

  ui.slider({ name: "parameters", label: "Parameters", steps: parameters, value: start.parameters, show: count });
  ui.slider({ name: "ranks", label: "GPUs (data-parallel ranks)", steps: powers(1024), value: start.ranks });
  ui.select({ name: "stage", label: "ZeRO stage", options: [0, 1, 2, 3].map((s) => [s, s ? `stage ${s}` : "0: plain data parallel"]), value: start.stage });
  ui.select({ name: "precision", label: "Precision", options: words(Object.keys(precisions)), value: start.precision });
  ui.select({ name: "optimizer", label: "Optimizer", options: words(Object.keys(moments)), value: start.optimizer });
  ui.select({ name: "keep", label: "Activations", options: words(activations), value: start.keep });
  ui.slider({ name: "sequence", label: "Tokens per sequence", steps: powers(131072).slice(8), value: start.sequence });
  ui.slider({ name: "batch", label: "Sequences per GPU", steps: powers(64), value: start.batch });
  ui.select({ name: "gpu", label: "GPU memory", options: [24, 40, 80, 141].map((g) => [g, `${g} GB`]), value: start.gpu });

  const KINDS = [
    ["params", "parameters", "#3b8fd6"],
    ["grads", "gradients", "#d9822b"],
    ["master", "fp32 master copy", "#2aa17a"],
    ["moments", "optimizer moments", "#c06bb3"],
    ["activations", "activations", "#8a8a8a"],
  ];

  /** Bytes on one rank: states as in state_bytes, activations as in activation_bytes. */
  function bytes(v, stage) {
    const size = precisions[v.precision];
    const share = (from) => (stage >= from ? v.ranks : 1);
    const hidden = Math.cbrt((128 * v.parameters) / 12);
    const tokensByWidth = v.sequence * v.batch * hidden;
    const perLayer = {
      "none": 0,
      "full recomputation": 2 * tokensByWidth,
      "selective recomputation": 34 * tokensByWidth,
      "no recomputation": tokensByWidth * (34 + (5 * v.sequence) / 128),
    };
    return {
      params: (v.parameters * size.params) / share(3),
      grads: (v.parameters * size.grads) / share(2),
      master: (v.parameters * size.master) / share(1),
      moments: (v.parameters * 4 * moments[v.optimizer]) / share(1),
      activations: (hidden / 128) * perLayer[v.keep],
    };
  }
  const total = (held) => KINDS.reduce((sum, [kind]) => sum + held[kind], 0);

  const outputs = Object.fromEntries(
    KINDS.map(([kind, label]) => [kind, ui.output({ name: kind, label, show: gigabytes })]),
  );
  const sum = ui.output({ name: "total", label: "in all, on each GPU", show: gigabytes });
  const verdict = ui.output({ name: "fits", label: "Does it fit?", show: (yes) => (yes ? "yes" : "no"), live: true });

  const [LEFT, RIGHT, ROW] = [58, 84, 40];
  const picture = ui.svg("svg", { role: "img" });
  const legend = ui.html("div", { style: "display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.85rem" },
    KINDS.map(([, label, color]) => ui.html("span", {},
      ui.html("span", { "aria-hidden": "true", style: `display:inline-block;width:.8em;height:.8em;margin-right:.35em;background:${color}` }),
      label)));
  ui.stage.append(legend, picture);
  const text = (x, y, words, extra = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 14, ...extra }, words);

  function row(v, stage, scale, room) {
    const held = bytes(v, stage);
    const [y, chosen] = [stage * ROW + 6, stage === v.stage];
    const parts = [text(0, y + 19, `stage ${stage}`, { "font-weight": chosen ? 700 : 400 })];
    let x = LEFT;
    for (const [kind, , color] of KINDS) {
      const width = Math.min(held[kind] * scale, LEFT + room - x);
      if (width > 0) parts.push(ui.svg("rect", { x, y, width, height: ROW - 12, fill: color, opacity: chosen ? 1 : 0.55 }));
      x += Math.max(width, 0);
    }
    const clipped = total(held) * scale > room + 0.5;
    parts.push(text(x + 5, y + 19, `${clipped ? "… " : ""}${gigabytes(total(held))}`, { "font-weight": chosen ? 700 : 400 }));
    return parts;
  }

  window.addEventListener("resize", () => ui.redraw());
  return (v) => {
    const held = bytes(v, v.stage);
    for (const [kind] of KINDS) outputs[kind].put(held[kind]);
    sum.put(total(held));
    verdict.put(total(held) <= v.gpu * 1e9);
    const width = Math.max(280, Math.min(720, ui.figure.clientWidth - 34));
    const room = width - LEFT - RIGHT;
    const scale = room / (Math.max(total(held), v.gpu * 1e9) * 1.1);
    const line = LEFT + v.gpu * 1e9 * scale;
    picture.replaceChildren(
      ...[0, 1, 2, 3].flatMap((stage) => row(v, stage, scale, room)),
      ui.svg("line", { x1: line, x2: line, y1: 0, y2: 4 * ROW + 4, stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "5 4" }),
      text(line, 4 * ROW + 24, `${v.gpu} GB GPU`, { "text-anchor": line > width - 60 ? "end" : "middle" }),
    );
    picture.setAttribute("viewBox", `0 0 ${width} ${4 * ROW + 30}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label",
      `Bytes on each of ${v.ranks} GPUs. ` + [0, 1, 2, 3].map((s) => `Stage ${s}: ${gigabytes(total(bytes(v, s)))}.`).join(" "));
  };
});
