/* Eight losses of one prediction and their gradients in the logits, redrawn at every change.
   ui.data: tokens [words], logits [numbers, most likely first], target (index at the start).
   DPO: the target is chosen, the likeliest other token is rejected, the unmoved logits are the
   reference. tests/test_losses_page.py compares with PyTorch and its autograd. */
Explorable.register("losses", (ui) => {
  const { tokens, logits, target } = ui.data;
  const N = tokens.length;
  const signed = (x) => (x > 0 ? `+${x}` : String(x).replace("-", "−"));
  const steps = (from, to, by) => Array.from({ length: Math.round((to - from) / by) + 1 }, (_, i) => from + i * by);
  const NAMES = ["cross-entropy", "label smoothing", "with z-loss", "focal", "BCE", "Brier", "MSE", "DPO"];

  ui.select({ name: "target", label: "Target token", options: tokens.map((t, i) => [i, t]), value: target });
  ui.slider({ name: "shift", label: "Add to the target's logit", steps: steps(-12, 12, 0.5), value: 0, show: signed });
  ui.slider({ name: "level", label: "Add to all logits", steps: steps(-10, 10, 1), value: 0, show: signed });
  ui.select({ name: "loss", label: "Show the gradient of", options: NAMES.map((n) => [n, n]), value: "cross-entropy" });
  ui.slider({ name: "epsilon", label: "Label smoothing ε", steps: [0, 0.05, 0.1, 0.2, 0.3], value: 0.1 });
  ui.slider({ name: "gamma", label: "Focal γ", steps: [0, 0.5, 1, 2, 5], value: 2 });
  ui.slider({ name: "lambda", label: "z-loss λ", steps: [0, 0.0001, 0.001, 0.01], value: 0.0001 });
  ui.slider({ name: "beta", label: "DPO β", steps: [0.05, 0.1, 0.5, 1], value: 0.1 });

  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const norm = (g) => Math.sqrt(sum(g.map((x) => x * x)));
  const sigmoid = (x) => 1 / (1 + Math.exp(-x));
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

  /** {name: [value, gradient]} of all losses, and the probabilities. */
  function losses(v) {
    const y = v.target, r = y === 0 ? 1 : 0;
    const z = logits.map((x, i) => x + v.level + (i === y ? v.shift : 0));
    const top = Math.max(...z);
    const logZ = top + Math.log(sum(z.map((x) => Math.exp(x - top))));
    const logq = z.map((x) => x - logZ), q = logq.map(Math.exp);
    const hot = z.map((_, i) => (i === y ? 1 : 0)), d = q.map((x, i) => x - hot[i]);
    const ce = -logq[y], p = q[y], rest = 1 - p;
    const pull = rest ** v.gamma + (v.gamma ? v.gamma * p * rest ** (v.gamma - 1) * ce : 0);
    const qd = sum(q.map((x, i) => x * d[i]));
    const margin = v.beta * v.shift;  // the reference moves with the level, not with the shift
    const pushed = v.beta * sigmoid(-margin);
    return { q, all: {
      "cross-entropy": [ce, d],
      "label smoothing": [(1 - v.epsilon) * ce - (v.epsilon / N) * sum(logq), q.map((x, i) => x - (1 - v.epsilon) * hot[i] - v.epsilon / N)],
      "with z-loss": [ce + v.lambda * logZ ** 2, d.map((x, i) => x + 2 * v.lambda * logZ * q[i])],
      "focal": [rest ** v.gamma * ce, d.map((x) => pull * x)],
      "BCE": [sum(z.map(softplus)) - z[y], z.map((x, i) => sigmoid(x) - hot[i])],
      "Brier": [sum(d.map((x) => x * x)), q.map((x, i) => 2 * x * (d[i] - qd))],
      "MSE": [sum(z.map((x, i) => (x - hot[i]) ** 2)), z.map((x, i) => 2 * (x - hot[i]))],
      "DPO": [softplus(-margin), z.map((_, i) => (i === y ? -pushed : i === r ? pushed : 0))],
    } };
  }

  const fixed = (digits) => (x) => ui.format.fixed(x, digits);
  const outputs = {
    probability: ui.output({ name: "probability", label: "probability of the target", show: (x) => ui.format.significant(x, 3) }),
    value: ui.output({ name: "value", label: "the loss shown", show: fixed(4), live: true }),
    slope: ui.output({ name: "slope", label: "its gradient at the target", show: (x) => ui.format.significant(x, 3) }),
    size: ui.output({ name: "size", label: "norm of its gradient", show: (x) => ui.format.significant(x, 3) }),
  };

  const picture = ui.svg("svg", { role: "img" });
  ui.stage.append(picture);
  const text = (x, y, words, extra = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 13, ...extra }, words);
  const ROW = 24, NAME = 108, BLUE = "#3b8fd6", ORANGE = "#d9822b";

  /** Rows for the tokens: the probability to the right, the step −gradient in a column of its own. */
  function tokenRows(v, q, g, width) {
    const half = (width - NAME) / 2, middle = NAME + half + half / 2;
    const most = Math.max(...g.map(Math.abs), 1e-12);
    const parts = [text(NAME, 14, "probability"), text(middle, 14, "step (− gradient)", { "text-anchor": "middle" }),
      ui.svg("line", { x1: middle, x2: middle, y1: 20, y2: 22 + N * ROW, stroke: "currentColor", "stroke-width": 1 })];
    for (let i = 0; i < N; i++) {
      const y = 22 + i * ROW, bold = i === v.target ? 700 : 400;
      const step = -g[i], length = (Math.abs(step) / most) * (half / 2 - 54);
      parts.push(text(0, y + 16, i === v.target ? `▸ ${tokens[i]}` : tokens[i], { "font-weight": bold }));
      parts.push(ui.svg("rect", { x: NAME, y: y + 4, width: q[i] * (half - 62), height: ROW - 8, fill: BLUE }));
      parts.push(text(NAME + q[i] * (half - 62) + 4, y + 16, ui.format.fixed(q[i], 3), { "font-size": 12 }));
      parts.push(ui.svg("rect", { x: step < 0 ? middle - length : middle, y: y + 4, width: length, height: ROW - 8, fill: ORANGE }));
      parts.push(text(step < 0 ? middle - length - 4 : middle + length + 4, y + 16, step.toPrecision(2).replace("-", "−"), { "font-size": 12, "text-anchor": step < 0 ? "end" : "start" }));
    }
    return parts;
  }

  /** Rows for the losses: value in figures, norm of the gradient as a bar from 0.0001 to 100. */
  function lossRows(v, all, width, top) {
    const room = width - NAME - 134;
    const parts = [text(NAME, top - 8, "value"), text(NAME + 64, top - 8, "norm of the gradient (logarithmic)")];
    NAMES.forEach((name, i) => {
      const y = top + i * ROW, [value, g] = all[name], size = norm(g), bold = name === v.loss ? 700 : 400;
      const length = Math.max(0, Math.min(1, (Math.log10(Math.max(size, 1e-9)) + 4) / 6)) * room;
      parts.push(text(0, y + 16, name, { "font-weight": bold }));
      parts.push(text(NAME, y + 16, ui.format.significant(value, 3), { "font-weight": bold }));
      parts.push(ui.svg("rect", { x: NAME + 64, y: y + 4, width: length, height: ROW - 8, fill: ORANGE, opacity: name === v.loss ? 1 : 0.6 }));
      parts.push(text(NAME + 68 + length, y + 16, size >= 1e-4 ? ui.format.significant(size, 2) : size.toExponential(1), { "font-size": 12, "font-weight": bold }));
    });
    return parts;
  }

  window.addEventListener("resize", () => ui.redraw());
  return (v) => {
    const { q, all } = losses(v);
    const [value, g] = all[v.loss];
    outputs.probability.put(q[v.target]);
    outputs.value.put(value);
    outputs.slope.put(g[v.target]);
    outputs.size.put(norm(g));
    const width = Math.max(330, Math.min(720, ui.figure.clientWidth - 34));
    const top = 22 + N * ROW + 40;
    picture.replaceChildren(...tokenRows(v, q, g, width), ...lossRows(v, all, width, top));
    picture.setAttribute("viewBox", `0 0 ${width} ${top + NAMES.length * ROW + 4}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label", `Target ${tokens[v.target]}, probability ${ui.format.significant(q[v.target], 3)}. ` +
      NAMES.map((name) => `${name}: loss ${ui.format.significant(all[name][0], 3)}, gradient ${ui.format.significant(norm(all[name][1]), 2)}.`).join(" "));
  };
});
