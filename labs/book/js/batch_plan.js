/* What DeepSpeed makes of a batch configuration: resolve_batch of labs/ranks/batches.py, redrawn at
   every change. ui.data: train, micro, accumulate, ranks, tokens [choices; null: key left out],
   start {control: value}. tests/test_batches.py compares it with Python. */
Explorable.register("batch_plan", (ui) => {
  const { train, micro, accumulate, ranks, tokens, start } = ui.data;
  const left = (v) => (v === null ? "left out" : v.toLocaleString("en"));
  const slider = (name, label, steps) =>
    ui.slider({ name, label, steps, value: start[name], show: left });
  slider("train", "train_batch_size", train);
  slider("micro", "train_micro_batch_size_per_gpu", micro);
  slider("accumulate", "gradient_accumulation_steps", accumulate);
  slider("ranks", "GPUs (data-parallel ranks)", ranks);
  slider("tokens", "Tokens per sequence", tokens);

  const whole = (x) => (x === null ? "–" : Math.round(x).toLocaleString("en"));
  const put = {
    train: ui.output({ name: "train", label: "sequences per optimizer step", show: whole }),
    micro: ui.output({ name: "micro", label: "sequences per GPU and micro-step", show: whole }),
    accumulate: ui.output({ name: "accumulate", label: "micro-steps per optimizer step", show: whole }),
    tokens: ui.output({ name: "tokens", label: "tokens per optimizer step", show: whole }),
  };
  const verdict = ui.output({
    name: "accepted", label: "Does DeepSpeed accept it?", show: (yes) => (yes ? "yes" : "no"), live: true,
  });
  const says = ui.html("p", { style: "font-family:monospace;overflow-wrap:anywhere;margin:.4rem 0" });
  const picture = ui.svg("svg", { role: "img" });
  ui.stage.append(says, picture);

  /** The rules of resolve_batch: {train, micro, accumulate} or {error}. */
  function resolve(v) {
    let [t, m, a] = [v.train, v.micro, v.accumulate];
    if (t === null && m === null) return { error: "train_batch_size or train_micro_batch_size_per_gpu is needed" };
    if (t !== null && m !== null) a = a ?? Math.floor(Math.floor(t / m) / v.ranks);
    else if (t !== null) { a = a ?? 1; m = Math.floor(Math.floor(t / v.ranks) / a); }
    else { a = a ?? 1; t = m * a * v.ranks; }
    const product = m * a * v.ranks;
    if (t !== product || product === 0) return { error: `${t} != ${m} * ${a} * ${v.ranks}` };
    return { train: t, micro: m, accumulate: a };
  }

  /** One cell for each GPU and micro-step, as many as fit; a cell holds `micro` sequences. */
  function draw(v, plan) {
    const width = Math.max(280, Math.min(720, ui.figure.clientWidth - 34));
    const [columns, rows] = plan.error ? [0, 0] : [Math.min(plan.accumulate, 16), Math.min(v.ranks, 8)];
    const [x0, y0, cell] = [66, 20, (width - 110) / 16];
    const text = (x, y, words) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 12 }, words);
    const parts = [text(x0, 12, plan.error ? "no step: the configuration is refused" : "micro-steps of one optimizer step →")];
    for (let row = 0; row < rows; row++) {
      parts.push(text(0, y0 + row * 22 + 15, `GPU ${row}`));
      for (let column = 0; column < columns; column++) {
        parts.push(ui.svg("rect", { x: x0 + column * cell, y: y0 + row * 22, width: cell - 2, height: 19, fill: "#3b8fd6", opacity: 0.75 }));
        if (plan.micro < 1000 && cell > 15) parts.push(ui.svg("text", { x: x0 + (column + 0.5) * cell - 1, y: y0 + row * 22 + 14, fill: "currentColor", "font-size": 11, "text-anchor": "middle" }, String(plan.micro)));
      }
      if (columns < plan.accumulate) parts.push(text(x0 + columns * cell + 2, y0 + row * 22 + 14, "…"));
    }
    const hidden = plan.error ? "" : v.ranks > rows ? `… and ${v.ranks - rows} more GPUs` : "";
    parts.push(text(x0, y0 + rows * 22 + 15, hidden));
    const height = y0 + rows * 22 + 22;
    picture.replaceChildren(...parts);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label", plan.error ? `Refused: ${plan.error}.`
      : `${v.ranks} GPUs times ${plan.accumulate} micro-steps of ${plan.micro} sequences make ${plan.train}.`);
  }

  window.addEventListener("resize", () => ui.redraw());
  return (v) => {
    const plan = resolve(v);
    for (const name of ["train", "micro", "accumulate"]) put[name].put(plan.error ? null : plan[name]);
    put.tokens.put(plan.error ? null : plan.train * v.tokens);
    verdict.put(!plan.error);
    const product = plan.error ? `refused: ${plan.error}` : `${plan.train} = ${plan.micro} * ${plan.accumulate} * ${v.ranks}`;
    says.textContent = `${product} (${v.ranks} GPUs, ${whole(v.tokens)} tokens per sequence)`;
    draw(v, plan);
  };
});
