/* A schedule of DeepSpeed, as its configuration and as the rate of each step, and what it does to a
   noisy quadratic. ui.data: curvatures [h], noise (variance of the gradient / h), start {control:
   value}. tests/test_lr_schedule_page.py gives the shown configuration to DeepSpeed and compares. */
Explorable.register("lr_schedule", (ui) => {
  const { curvatures, noise, start } = ui.data;
  const NAMES = ["WarmupLR", "WarmupDecayLR", "WarmupCosineLR", "OneCycle", "LRRangeTest", "warmup-stable-decay"];
  const LENGTHS = [50, 100, 200, 400, 800];
  const short = (x) => (Number.isFinite(x) ? (Math.abs(x) < 1e5 ? ui.format.significant(x, 3) : x.toExponential(1)) : "diverges");

  ui.select({ name: "schedule", label: "Schedule", options: NAMES.map((n) => [n, n]), value: start.schedule });
  ui.slider({ name: "peak", label: "Peak rate", steps: [0.02, 0.05, 0.1, 0.2, 0.5, 1, 1.5, 1.9, 2.5], value: start.peak });
  ui.slider({ name: "warmup", label: "Steps up", steps: [2, 5, 10, 20, 50, 100, 200], value: start.warmup });
  ui.select({ name: "type", label: "Shape of the warm-up", options: ["log", "linear"].map((n) => [n, n]), value: start.type });
  ui.slider({ name: "total", label: "Steps planned", steps: LENGTHS, value: start.total });
  ui.slider({ name: "floor", label: "Lowest rate / peak", steps: [0.01, 0.05, 0.1, 0.3, 0.5], value: start.floor });
  ui.slider({ name: "steps", label: "Steps trained", steps: LENGTHS, value: start.steps });
  ui.slider({ name: "look", label: "Look at step", steps: [1, 2, 3, 5, 10, 20, 50, 100, 200, 400, 800], value: start.look });

  /** The "scheduler" section of ds_config; null where DeepSpeed has none. */
  function config(v) {
    const warm = { warmup_num_steps: v.warmup, warmup_type: v.type };
    const params = {
      "WarmupLR": { warmup_max_lr: v.peak, ...warm },
      "WarmupDecayLR": { total_num_steps: v.total, warmup_max_lr: v.peak, ...warm },
      "WarmupCosineLR": { total_num_steps: v.total, cos_min_ratio: v.floor, ...warm },
      "OneCycle": { cycle_min_lr: v.floor * v.peak, cycle_max_lr: v.peak, cycle_first_step_size: v.warmup, cycle_second_step_size: Math.max(1, v.total - v.warmup), cycle_momentum: false },
      "LRRangeTest": { lr_range_test_min_lr: v.floor * v.peak, lr_range_test_step_size: v.total, lr_range_test_step_rate: 1 / v.floor - 1 },
    }[v.schedule];
    return params ? { type: v.schedule, params } : null;
  }

  /** Rate of optimizer step k = 1, 2, …: DeepSpeed's schedulers are at index k - 2 then. */
  function rate(v, k) {
    const t = k - 2, low = v.floor * v.peak;
    const up = t < 0 ? 0 : v.type === "log" ? Math.log(t + 1) / Math.log(v.warmup) : t / v.warmup;
    const left = Math.max(1, v.total - v.warmup), second = Math.max(1, v.total - v.warmup);
    switch (v.schedule) {
      case "WarmupLR": return v.peak * (t < v.warmup ? up : 1);
      case "WarmupDecayLR": return v.peak * (t < v.warmup ? up : Math.max(0, (v.total - t) / left));
      case "WarmupCosineLR": {
        const cosine = (1 + Math.cos(Math.PI * Math.min(1, (t - v.warmup + 1) / left))) / 2;
        return v.peak * (t < v.warmup ? up : v.floor + (1 - v.floor) * cosine);
      }
      case "OneCycle": {
        if (t < 0 || t >= v.warmup + second) return low;
        const at = (t + 1) % (v.warmup + second);
        return low + (v.peak - low) * (at <= v.warmup ? at / v.warmup : (v.warmup + second - at) / second);
      }
      case "LRRangeTest": return low * (1 + (1 / v.floor - 1) * (Math.max(0, t + 1) / v.total));
      default: {  // warm-up, constant, and in the last fifth a straight line to the lowest rate
        if (k <= v.warmup) return (v.peak * k) / v.warmup;
        const down = Math.min(1, Math.max(0, (k - 0.8 * v.total) / (0.2 * v.total)));
        return v.peak * (1 - (1 - v.floor) * down);
      }
    }
  }

  /** Expected loss after each step of SGD on the noisy quadratic, from squared distances of 1. */
  function losses(rates) {
    let squares = curvatures.map(() => 1);
    return rates.map((eta) => {
      squares = squares.map((s, i) => (1 - eta * curvatures[i]) ** 2 * s + eta ** 2 * noise * curvatures[i]);
      return 0.5 * squares.reduce((sum, s, i) => sum + curvatures[i] * s, 0);
    });
  }

  const outputs = {
    look: ui.output({ name: "look", label: "rate of that step", show: short }),
    highest: ui.output({ name: "highest", label: "highest rate used", show: short }),
    at: ui.output({ name: "at", label: "first at step", show: String }),
    last: ui.output({ name: "last", label: "rate of the last step", show: short }),
    mean: ui.output({ name: "mean", label: "mean rate / peak", show: (x) => ui.format.percent(x) }),
    loss: ui.output({ name: "loss", label: "loss at the end", show: short, live: true }),
    constant: ui.output({ name: "constant", label: "loss with a constant rate", show: short }),
  };
  const picture = ui.svg("svg", { role: "img" });
  const shown = ui.html("pre", { "data-config": "", tabindex: "0", style: "white-space:pre-wrap;overflow-wrap:anywhere;font-size:.8rem;margin:.4rem 0 0" });
  ui.stage.append(picture, shown);
  const text = (x, y, words, extra = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 13, ...extra }, words);
  const LEFT = 56, HEIGHT = 130;

  /** One panel: axes, a curve for each list of values, and a label of the vertical axis. */
  function panel(top, width, curves, low, high, label, ticks) {
    const n = curves[0].values.length, room = width - LEFT - 10;
    const y = (value) => top + HEIGHT - Math.max(0, Math.min(1, (value - low) / (high - low))) * HEIGHT;
    const path = (values) => values.map((value, i) => `${i ? "L" : "M"}${(LEFT + (room * i) / Math.max(1, n - 1)).toFixed(1)},${y(value).toFixed(1)}`).join("");
    return [
      text(LEFT, top - 8, label),
      ...ticks.flatMap(([value, words]) => [
        ui.svg("line", { x1: LEFT, x2: width - 10, y1: y(value), y2: y(value), stroke: "currentColor", "stroke-opacity": 0.25 }),
        text(LEFT - 6, y(value) + 4, words, { "text-anchor": "end", "font-size": 12 }),
      ]),
      ...curves.map(({ values, ...style }) => ui.svg("path", { d: path(values), fill: "none", "stroke-width": 2, ...style })),
    ];
  }

  window.addEventListener("resize", () => ui.redraw());
  return (v) => {
    const rates = Array.from({ length: v.steps }, (_, i) => rate(v, i + 1));
    const loss = losses(rates), constant = losses(rates.map(() => v.peak));
    const highest = Math.max(...rates);
    outputs.look.put(rate(v, v.look));
    outputs.highest.put(highest);
    outputs.at.put(rates.indexOf(highest) + 1);
    outputs.last.put(rates.at(-1));
    outputs.mean.put(rates.reduce((a, b) => a + b, 0) / v.steps / v.peak);
    outputs.loss.put(loss.at(-1));
    outputs.constant.put(constant.at(-1));

    const width = Math.max(300, Math.min(720, ui.figure.clientWidth - 34));
    const log = (values) => values.map((x) => Math.log10(Math.min(Math.max(x, 1e-3), 1e2)));
    const second = HEIGHT + 64, bottom = second + HEIGHT;
    const x = LEFT + ((width - LEFT - 10) * (Math.min(v.look, v.steps) - 1)) / Math.max(1, v.steps - 1);
    picture.replaceChildren(
      ...panel(24, width, [{ values: rates, stroke: "#3b8fd6" }], 0, Math.max(v.peak, highest), "learning rate", [[0, "0"], [v.peak, String(v.peak)]]),
      ...panel(second, width, [
        { values: log(constant), stroke: "#d9822b", "stroke-dasharray": "6 4" },
        { values: log(loss), stroke: "#3b8fd6" },
      ], -3, 2, "expected loss: this schedule (solid), constant peak (dashed)", [[-3, "0.001"], [-1, "0.1"], [1, "10"]]),
      ui.svg("line", { x1: x, x2: x, y1: 24, y2: bottom, stroke: "currentColor", "stroke-dasharray": "2 3" }),
      text(LEFT, bottom + 20, "step 1"),
      text(width - 10, bottom + 20, `step ${v.steps}`, { "text-anchor": "end" }),
    );
    picture.setAttribute("viewBox", `0 0 ${width} ${bottom + 28}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label", `${v.schedule}: the rate reaches ${short(highest)} at step ${rates.indexOf(highest) + 1} and ends at ${short(rates.at(-1))}. The expected loss ends at ${short(loss.at(-1))}, with a constant rate at ${short(constant.at(-1))}.`);
    const section = config(v);
    shown.textContent = section ? `"scheduler": ${JSON.stringify(section)}` : "DeepSpeed has no such schedule: pass a LambdaLR as lr_scheduler.";
  };
});
