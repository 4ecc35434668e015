/* The next token of a real prompt: temperature, then top-k, top-p and min-p, in that order, as in
   labs/train/decoding.py. ui.data: vocabulary (its size), prompts [{text, tokens [the likeliest],
   logits [all, falling]}]. tests/test_sampling_page.py compares with Python. */
Explorable.register("sampling", (ui) => {
  const { prompts, vocabulary } = ui.data;
  const off = (is, words) => (is ? "off" : words);

  ui.select({ name: "prompt", label: "Prompt", options: prompts.map(({ text }, i) => [i, text]), value: 0 });
  ui.slider({ name: "temperature", label: "Temperature", min: 0, max: 3, step: 0.05, value: 1, show: (t) => (t ? ui.format.fixed(t, 2) : "0: greedy") });
  ui.slider({ name: "top_k", label: "Top-k", steps: [1, 2, 3, 5, 8, 10, 20, 40, 50, 100, 200, vocabulary], value: vocabulary, show: (k) => off(k === vocabulary, k) });
  ui.slider({ name: "top_p", label: "Top-p", min: 0.05, max: 1, step: 0.05, value: 1, show: (p) => off(p === 1, ui.format.fixed(p, 2)) });
  ui.slider({ name: "min_p", label: "Min-p", min: 0, max: 0.5, step: 0.01, value: 0, show: (p) => off(p === 0, ui.format.fixed(p, 2)) });

  /** Softmax of falling logits at a temperature; 0 puts everything on the first. */
  function softmax(logits, temperature) {
    if (temperature === 0) return logits.map((_, i) => (i === 0 ? 1 : 0));
    const weights = logits.map((z) => Math.exp((z - logits[0]) / temperature));
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights.map((w) => w / sum);
  }

  /** What is sampled from: the tempered softmax, truncated three times and scaled to sum to 1. */
  function truncated(v, tempered) {
    const first = tempered.map((p, i) => (i < v.top_k ? p : 0));
    const mass = first.reduce((a, b) => a + b, 0);
    let sum = 0;
    const kept = first.map((p) => {
      const share = p / mass;
      sum += share;
      const nucleus = v.top_p === 1 || sum - share < v.top_p;
      return nucleus && share >= v.min_p * (first[0] / mass) ? share : 0;
    });
    const rest = kept.reduce((a, b) => a + b, 0);
    return kept.map((p) => p / rest);
  }

  const support = ui.output({ name: "support", label: "tokens that can be drawn", show: (n) => `${n} of ${vocabulary}` });
  const entropy = ui.output({ name: "entropy", label: "entropy", show: (h) => `${ui.format.fixed(h, 2)} nats` });
  const like = ui.output({ name: "effective", label: "as if evenly over", show: (n) => `${ui.format.fixed(n, 1)} tokens` });
  const best = ui.output({ name: "best", label: "likeliest token", show: (p) => ui.format.percent(p), live: true });
  const mass = ui.output({ name: "mass", label: "kept by truncation", show: (p) => ui.format.percent(p) });

  const [LEFT, RIGHT, ROW] = [92, 66, 25];
  const picture = ui.svg("svg", { role: "img" });
  ui.stage.append(picture);
  const text = (x, y, words, more = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 14, ...more }, words);

  window.addEventListener("resize", () => ui.redraw());
  return (v) => {
    const { tokens, logits } = prompts[v.prompt];
    const tempered = softmax(logits, v.temperature);
    const p = truncated(v, tempered);
    const nats = p.reduce((h, x) => (x > 0 ? h - x * Math.log(x) : h), 0);
    support.put(p.filter((x) => x > 0).length);
    entropy.put(nats);
    like.put(Math.exp(nats));
    best.put(p[0]);
    mass.put(tempered.reduce((sum, x, i) => (p[i] > 0 ? sum + x : sum), 0));

    const width = Math.max(280, Math.min(700, ui.figure.clientWidth - 34));
    const scale = (width - LEFT - RIGHT) / p[0];
    picture.replaceChildren(...tokens.flatMap((token, i) => {
      const y = i * ROW;
      return [
        text(LEFT - 8, y + 17, token, { "text-anchor": "end", "font-family": "monospace", "text-decoration": p[i] > 0 ? null : "line-through" }),
        ui.svg("rect", { x: LEFT, y: y + 4, width: p[i] * scale, height: ROW - 8, fill: "var(--accent)" }),
        ui.svg("rect", { x: LEFT, y: y + 4, width: tempered[i] * scale, height: ROW - 8, fill: "none", stroke: "currentColor", "stroke-dasharray": "3 2" }),
        text(LEFT + Math.max(p[i], tempered[i]) * scale + 6, y + 17, p[i] > 0 ? ui.format.percent(p[i]) : "cut"),
      ];
    }));
    picture.setAttribute("viewBox", `0 0 ${width} ${tokens.length * ROW + 4}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label", `The ${tokens.length} likeliest next tokens, before truncation (dashed) and after (filled). ` +
      tokens.slice(0, 3).map((token, i) => `${token}: ${ui.format.percent(p[i])}`).join(", ") + ".");
  };
});
