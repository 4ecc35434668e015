/* What fits and what it costs, by ZeRO stage: the arithmetic of labs/ranks/plan.py, redrawn at every
   change. ui.data: steps of each control, constants, start {control: value}.
   tests/test_plan_page.py compares it with Python. */
Explorable.register("training_plan", (ui) => {
  const { constants: C, start, keep: KEEP, tensor: CUTS } = ui.data;
  const { significant, percent, si } = ui.format;
  const gigabytes = (bytes) => `${significant(bytes / 1e9, 3)} GB`;
  const slider = (name, label, show = String) =>
    ui.slider({ name, label, steps: ui.data[name], value: start[name], show });

  slider("parameters", "Parameters", (n) => `${significant(n / 1e9, 3)} billion`);
  slider("gpus", "GPUs, in nodes of 8");
  slider("memory", "Memory of a GPU", (b) => `${b / 1e9} GB`);
  slider("bandwidth", "Bandwidth between nodes, per GPU", (b) => `${significant(b / 1e9, 4)} GB/s`);
  slider("tokens", "Tokens per replica and micro-step", (n) => n.toLocaleString("en-US"));
  slider("accumulate", "Micro-steps per step");
  ui.select({ name: "tensor", label: "Tensor parallel", options: CUTS.map((t) => [t, t === 1 ? "1: whole replicas" : `over ${t} GPUs`]), value: start.tensor });
  ui.select({ name: "keep", label: "Activations", options: KEEP.map((k) => [k, k]), value: start.keep });

  const outputs = {
    stage: ui.output({ name: "stage", label: "fastest stage that fits", show: (s) => (s < 0 ? "none" : String(s)), live: true }),
    memory: ui.output({ name: "memory", label: "its bytes on a GPU", show: (b) => (b ? gigabytes(b) : "–") }),
    efficiency: ui.output({ name: "efficiency", label: "its efficiency (model)", show: (x) => (x ? percent(x) : "–") }),
    throughput: ui.output({ name: "throughput", label: "tokens/s, all GPUs (model)", show: (x) => (x ? si(x) : "–") }),
    batch: ui.output({ name: "batch", label: "tokens in a step", show: (x) => si(x) }),
    strategy: ui.output({ name: "strategy", label: "fastest of all strategies" }),
    best: ui.output({ name: "best", label: "its tokens/s (model)", show: (x) => (x ? si(x) : "–") }),
  };

  const pass = (bytes, ranks, alpha, bandwidth, rounds) => rounds * alpha + (((ranks - 1) / ranks) * bytes) / bandwidth;
  const shape = (parameters) => { const hidden = Math.pow((128 * parameters) / 12, 1 / 3); return [hidden / 128, hidden]; };

  /** Seconds of traffic of data parallelism that compute does not hide: labs.ranks.network.step. */
  function exposed(own, ranks, stage, k, micro, alpha, bandwidth) {
    const buffers = Math.max(1, Math.ceil(own / C.bucket));
    const one = pass(2 * own, ranks, alpha, bandwidth, buffers * Math.log2(ranks));
    const [forward, backward, after] = [[0, 2, 0], [0, 1, 1], [0, k, 1], [k, 2 * k, 0]][stage];
    const places = stage >= 2 ? k : 1;
    return k * Math.max(0, (forward / k) * one - micro / 3)
      + places * Math.max(0, (backward / places) * one - (2 * micro) / 3) + after * one;
  }

  /** As labs.ranks.plan.estimate. */
  function estimate(v, stage, tensor, keep) {
    const [again, replicas, k] = [keep === KEEP[1], v.gpus / tensor, v.accumulate * tensor];
    const [layers, hidden] = shape(v.parameters);
    const own = v.parameters / tensor;
    const flops = C.flops * (again ? 3 / 4 : 1);
    const micro = (6 * own * v.tokens) / flops;
    const alone = v.gpus <= C.node;
    const traffic = exposed(own, replicas, stage, k, micro, alone ? C.inside_alpha : C.alpha, alone ? C.inside_bandwidth : v.bandwidth);
    const useful = k * micro * (again ? 3 / 4 : 1);
    const sum = 2 * pass(2 * v.tokens * hidden, tensor, C.inside_alpha, C.inside_bandwidth, tensor - 1);
    const whole = v.tokens * hidden * (10 + 24 / tensor);
    const divided = (from) => (stage >= from ? replicas : 1);
    const parts = {
      states: own * (2 / divided(3) + 2 / divided(2) + 12 / divided(1)),
      activations: again ? layers * 2 * v.tokens * hidden + whole : layers * whole,
      gathered: stage === 3 ? (2 * 2 * 12 * hidden ** 2) / tensor : 0,
    };
    const memory = parts.states + parts.activations + parts.gathered;
    const seconds = k * micro + traffic + k * layers * (again ? 6 : 4) * sum;
    return {
      stage, tensor, keep, parts, memory, seconds, fits: memory <= C.usable * v.memory,
      efficiency: useful / seconds, throughput: (v.gpus * v.tokens * v.accumulate) / seconds,
    };
  }
  const better = (a, b) => a.seconds - b.seconds || a.tensor - b.tensor || a.stage - b.stage;
  const choose = (list) => list.filter((e) => e.fits).sort(better)[0];
  const words = (e) => `stage ${e.stage}${e.tensor > 1 ? `, TP ${e.tensor}` : ""}${e.keep === KEEP[1] ? ", recompute" : ""}`;
  const stagesOf = (v, tensor) => (v.gpus > tensor ? [0, 1, 2, 3] : [0]);

  const KINDS = [["states", "model states", "#3b8fd6"], ["activations", "activations", "#d9822b"], ["gathered", "gathered blocks", "#2aa17a"]];
  const [LEFT, RIGHT, ROW] = [58, 150, 40];
  const picture = ui.svg("svg", { role: "img" });
  const legend = ui.html("div", { style: "display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.85rem" },
    KINDS.map(([, label, color]) => ui.html("span", {},
      ui.html("span", { "aria-hidden": "true", style: `display:inline-block;width:.8em;height:.8em;margin-right:.35em;background:${color}` }), label)));
  ui.stage.append(legend, picture);
  const text = (x, y, label, extra = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 13, ...extra }, label);

  window.addEventListener("resize", () => ui.redraw());
  return (v) => {
    const tensor = Math.min(v.tensor, v.gpus);
    const all = [0, 1, 2, 3].map((stage) => estimate(v, stage, tensor, v.keep));
    const chosen = choose(all.filter((e) => stagesOf(v, tensor).includes(e.stage)));
    const cuts = CUTS.filter((t) => t <= Math.min(C.node, v.gpus));
    const best = choose(KEEP.flatMap((keep) => cuts.flatMap((t) => stagesOf(v, t).map((s) => estimate(v, s, t, keep)))));
    outputs.stage.put(chosen ? chosen.stage : -1);
    for (const name of ["memory", "efficiency", "throughput"]) outputs[name].put(chosen ? chosen[name] : 0);
    outputs.batch.put(v.gpus * v.tokens * v.accumulate);
    outputs.strategy.put(best ? words(best) : "none fits");
    outputs.best.put(best ? best.throughput : 0);

    const width = Math.max(280, Math.min(720, ui.figure.clientWidth - 34));
    const room = width - LEFT - RIGHT;
    const scale = room / (v.memory * 1.6);
    const line = LEFT + C.usable * v.memory * scale;
    const rows = all.flatMap((e, i) => {
      const [y, bold] = [i * ROW + 6, { "font-weight": e === chosen ? 700 : 400 }];
      const drawn = [text(0, y + 18, `stage ${e.stage}`, bold)];
      let x = LEFT;
      for (const [kind, , color] of KINDS) {
        const w = Math.max(0, Math.min(e.parts[kind] * scale, LEFT + room - x));
        if (w > 0) drawn.push(ui.svg("rect", { x, y, width: w, height: ROW - 12, fill: color, opacity: e === chosen ? 1 : 0.55 }));
        x += w;
      }
      const says = e.fits ? `efficiency ${percent(e.efficiency, 0)}` : "does not fit";
      drawn.push(text(LEFT + room + 8, y + 10, gigabytes(e.memory), bold), text(LEFT + room + 8, y + 26, says, bold));
      return drawn;
    });
    picture.replaceChildren(...rows,
      ui.svg("line", { x1: line, x2: line, y1: 0, y2: 4 * ROW + 4, stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "5 4" }),
      text(line, 4 * ROW + 22, `${C.usable * 100} % of ${v.memory / 1e9} GB`, { "text-anchor": "middle" }));
    picture.setAttribute("viewBox", `0 0 ${width} ${4 * ROW + 30}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label", `Bytes on each of ${v.gpus} GPUs and efficiency. ` + all.map((e) =>
      `Stage ${e.stage}: ${gigabytes(e.memory)}, ${e.fits ? percent(e.efficiency, 0) : "does not fit"}.`).join(" "));
  };
});
