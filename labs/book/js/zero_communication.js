/* One step of data parallelism on a network: the arithmetic of labs/ranks/network.py, redrawn at
   every change. ui.data: steps of each control, start {control: value}, element (bytes).
   tests/test_zero_communication_page.py compares it with Python. */
Explorable.register("zero_communication", (ui) => {
  const { start, element } = ui.data;
  const { significant, percent, si } = ui.format;
  const time = (s) => (s >= 1 ? `${significant(s, 3)} s` : s >= 1e-3 ? `${significant(s * 1e3, 3)} ms` : `${significant(s * 1e6, 3)} µs`);
  const slider = (name, label, show = String) =>
    ui.slider({ name, label, steps: ui.data[name], value: start[name], show });

  slider("parameters", "Parameters", (n) => `${significant(n / 1e9, 3)} billion`);
  slider("ranks", "GPUs (data-parallel ranks)");
  ui.select({ name: "stage", label: "ZeRO stage", options: [0, 1, 2, 3].map((s) => [s, s ? `stage ${s}` : "0: plain data parallel"]), value: start.stage });
  slider("tokens", "Tokens per GPU and micro-step", (n) => n.toLocaleString("en-US"));
  slider("accumulate", "Micro-steps per step");
  slider("bandwidth", "Bandwidth per GPU", (b) => `${significant(b / 1e9, 4)} GB/s`);
  slider("alpha", "Latency of a message", (a) => `${significant(a * 1e6, 3)} µs`);
  slider("flops", "Compute per GPU", (f) => `${f / 1e12} TFLOP/s`);
  slider("bucket", "Elements per collective", (n) => `${n / 1e6} million`);
  ui.select({ name: "algorithm", label: "Algorithm", options: [["ring", "ring"], ["halving", "halving and doubling"]], value: start.algorithm });
  ui.toggle({ name: "overlap", label: "Overlap with compute", value: start.overlap });

  const outputs = {
    sent: ui.output({ name: "sent", label: "sent by each GPU", show: (x) => si(x, "B") }),
    communication: ui.output({ name: "communication", label: "communication", show: time }),
    latency: ui.output({ name: "latency", label: "of it latency", show: time }),
    compute: ui.output({ name: "compute", label: "compute", show: time }),
    exposed: ui.output({ name: "exposed", label: "not hidden", show: time }),
    total: ui.output({ name: "total", label: "step", show: time }),
    efficiency: ui.output({ name: "efficiency", label: "efficiency", show: (x) => percent(x), live: true }),
  };

  /** As labs.ranks.network.step, for any stage and number of ranks. */
  function step(v, stage, ranks) {
    const k = v.accumulate;
    const bytes = v.parameters * element;
    const buffers = Math.max(1, Math.ceil(v.parameters / v.bucket));
    const rounds = v.algorithm === "ring" ? ranks - 1 : Math.log2(ranks);
    const latency = buffers * rounds * v.alpha;
    const one = latency + (((ranks - 1) / ranks) * bytes) / v.bandwidth;
    const count = [
      { forward: 0, backward: 2, after: 0 }, { forward: 0, backward: 1, after: 1 },
      { forward: 0, backward: k, after: 1 }, { forward: k, backward: 2 * k, after: 0 },
    ][stage];
    const micro = (6 * v.parameters * v.tokens) / v.flops;
    const places = stage >= 2 ? k : 1;
    const number = count.forward + count.backward + count.after;
    const hidden = k * Math.max(0, (count.forward / k) * one - micro / 3)
      + places * Math.max(0, (count.backward / places) * one - (2 * micro) / 3) + count.after * one;
    const [compute, exposed] = [k * micro, v.overlap ? hidden : number * one];
    return {
      compute, exposed, communication: number * one, latency: number * latency,
      sent: ((number * (ranks - 1)) / ranks) * bytes, total: compute + exposed, efficiency: compute / (compute + exposed),
    };
  }

  const [LEFT, RIGHT, TOP, HIGH] = [62, 70, 14, 200];
  const DASHES = ["", "8 3", "2 3", "10 3 2 3"];
  const picture = ui.svg("svg", { role: "img" });
  const note = ui.html("p", { style: "margin:0 0 .3rem;font-size:.85rem" },
    "Efficiency (share of a step spent on compute) against the number of GPUs, at fixed tokens per GPU.");
  ui.stage.append(note, picture);
  const text = (x, y, label, extra = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 13, ...extra }, label);

  window.addEventListener("resize", () => ui.redraw());
  return (v) => {
    const now = step(v, v.stage, v.ranks);
    for (const [name, output] of Object.entries(outputs)) output.put(now[name]);
    const width = Math.max(280, Math.min(720, ui.figure.clientWidth - 34));
    const ranks = ui.data.ranks;
    const X = (n) => LEFT + ((width - LEFT - RIGHT) * Math.log2(n / ranks[0])) / Math.log2(ranks[ranks.length - 1] / ranks[0]);
    const Y = (share) => TOP + HIGH * (1 - share);
    const grid = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
      ui.svg("line", { x1: LEFT, x2: width - RIGHT, y1: Y(share), y2: Y(share), stroke: "var(--line)" }),
      text(LEFT - 8, Y(share) + 4, percent(share, 0), { "text-anchor": "end" }),
    ]);
    const ticks = ranks.filter((_, i) => i % 2 === 1 || i === 0).map((n) => text(X(n), TOP + HIGH + 18, n, { "text-anchor": "middle" }));
    const heights = [0, 1, 2, 3].map((stage) => Y(step(v, stage, ranks[ranks.length - 1]).efficiency) + 4);
    const order = [0, 1, 2, 3].sort((a, b) => heights[a] - heights[b]);
    order.forEach((stage, i) => { if (i) heights[stage] = Math.max(heights[stage], heights[order[i - 1]] + 14); });
    const excess = Math.max(0, heights[order[3]] - Y(0) - 4);
    const curves = [0, 1, 2, 3].flatMap((stage) => {
      const chosen = stage === v.stage;
      return [
        ui.svg("polyline", {
          points: ranks.map((n) => `${X(n).toFixed(1)},${Y(step(v, stage, n).efficiency).toFixed(1)}`).join(" "),
          fill: "none", stroke: chosen ? "var(--accent)" : "currentColor", "stroke-width": chosen ? 3 : 1.5, "stroke-dasharray": DASHES[stage],
        }),
        text(width - RIGHT + 6, heights[stage] - excess, `stage ${stage}`, { "font-weight": chosen ? 700 : 400 }),
      ];
    });
    picture.replaceChildren(...grid, ...ticks, ...curves,
      ui.svg("circle", { cx: X(v.ranks), cy: Y(now.efficiency), r: 6, fill: "var(--accent)", stroke: "currentColor", "stroke-width": 1.5 }),
      text((LEFT + width - RIGHT) / 2, TOP + HIGH + 38, "GPUs", { "text-anchor": "middle" }));
    picture.setAttribute("viewBox", `0 0 ${width} ${TOP + HIGH + 46}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label",
      `Efficiency on ${v.ranks} GPUs. ` + [0, 1, 2, 3].map((s) => `Stage ${s}: ${percent(step(v, s, v.ranks).efficiency)}.`).join(" "));
  };
});
