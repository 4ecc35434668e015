/* Pipeline schedules: the orders and the clock of labs/ranks/schedules.py, redrawn at every change.
   ui.data: schedules, stages, rounds, chunks [choices], times {label: [F, B, W]}, start.
   tests/test_pipeline_page.py compares it with Python. */
Explorable.register("pipeline", (ui) => {
  const { schedules, stages, rounds, chunks, times, start } = ui.data;
  const count = (n) => Array.from({ length: n }, (_, i) => i);

  ui.select({ name: "schedule", label: "Schedule", options: schedules.map((s) => [s, s]), value: start.schedule });
  ui.slider({ name: "stages", label: "Stages p", steps: stages, value: start.stages });
  ui.slider({ name: "rounds", label: "Micro-batches m, in multiples of p", steps: rounds, value: start.rounds, show: (n) => `${n} × p` });
  ui.slider({ name: "chunks", label: "Chunks v of a stage (interleaved only)", steps: chunks, value: start.chunks });
  ui.select({ name: "times", label: "Time of F : B : W", options: Object.keys(times).map((t) => [t, t]), value: start.times });

  const whole = (x) => ui.format.significant(x, 4);
  const micros = ui.output({ name: "micros", label: "micro-batches m", show: whole });
  const idle = ui.output({ name: "idle", label: "idle share (the bubble)", show: ui.format.percent, live: true });
  const formula = ui.output({ name: "formula", label: "what the formula says", show: ui.format.percent });
  const span = ui.output({ name: "span", label: "length of a step, in F", show: whole });
  const held = ui.output({ name: "held", label: "most micro-batches held by stage 0", show: whole });

  /** `warm` forwards, then forward and backward in turn, then the backwards that are left. */
  function alternate(forward, backward, warm) {
    const turns = forward.slice(warm).flatMap((f, i) => [f, backward[i]]);
    return [...forward.slice(0, warm), ...turns, ...backward.slice(forward.length - warm)];
  }
  const op = (kind, micro, chunk = 0) => ({ kind, micro, chunk });
  const ORDERS = {
    "GPipe": (p, m) => [...count(m).map((i) => op("F", i)), ...count(m).reverse().map((i) => op("B", i))],
    "1F1B": (p, m, s) => alternate(count(m).map((i) => op("F", i)), count(m).map((i) => op("B", i)), Math.min(p - 1 - s, m)),
    "interleaved": (p, m, s, v) => {
      const piece = (kind) => (k) => {
        const rest = k % (p * v);
        const chunk = Math.floor(rest / p);
        return op(kind, Math.floor(k / (p * v)) * p + (rest % p), kind === "F" ? chunk : v - 1 - chunk);
      };
      const warm = Math.min(2 * (p - 1 - s) + (v - 1) * p, m * v);
      return alternate(count(m * v).map(piece("F")), count(m * v).map(piece("B")), warm);
    },
    "zero bubble": (p, m, s) => {
      const ops = count(Math.min(p - s, m)).map((i) => op("F", i));
      for (const i of count(m)) {
        ops.push(op("B", i));
        if (i >= s) ops.push(op("W", i - s));
        if (i + p - s < m) ops.push(op("F", i + p - s));
      }
      return [...ops, ...count(m).slice(Math.max(m - s, 0)).map((i) => op("W", i))];
    },
  };

  /** When each operation runs, stage by stage; times are whole, in units of 1/v of the slider's. */
  function timeline(name, p, m, v, [F, B, W]) {
    const cost = { F, B: name === "zero bubble" ? B : B + W, W };
    const orders = count(p).map((s) => ORDERS[name](p, m, s, v));
    const slots = orders.map(() => []);
    const done = new Map();
    const end = (kind, micro, place) => done.get(`${kind} ${micro} ${place}`);
    const ready = ({ kind, micro }, place) => {
      if (kind === "F") return place === 0 ? 0 : end("F", micro, place - 1);
      if (kind === "W") return end("B", micro, place);
      return place === p * v - 1 ? end("F", micro, place) : end("B", micro, place + 1);
    };
    while (slots.some((s, i) => s.length < orders[i].length)) {
      orders.forEach((order, s) => {
        for (let next; (next = order[slots[s].length]); ) {
          const place = next.chunk * p + s;
          const from = ready(next, place);
          if (from === undefined) return;
          const begin = Math.max(from, slots[s].length ? slots[s][slots[s].length - 1].end : 0);
          slots[s].push({ ...next, begin, end: begin + cost[next.kind] });
          done.set(`${next.kind} ${next.micro} ${place}`, begin + cost[next.kind]);
        }
      });
    }
    return slots;
  }
  function most(slots, v) {
    const releases = slots.some((s) => s.kind === "W") ? "W" : "B";
    let [now, top] = [0, 0];
    for (const { kind } of slots) {
      now += (kind === "F") - (kind === releases);
      top = Math.max(top, now);
    }
    return top / v;
  }
  function bubble(name, p, m, v, [F, B, W]) {
    const one = { "interleaved": (F + B + W) / v, "zero bubble": F + B - W }[name] ?? F + B + W;
    return ((p - 1) * one) / (m * (F + B + W) + (p - 1) * one);
  }

  const COLORS = { F: "#3b8fd6", B: "#d9822b", W: "#2aa17a" };
  const WORDS = { F: "F: forward", B: "B: backward", W: "W: weight gradient" };
  const picture = ui.svg("svg", { role: "img" });
  const legend = ui.html("div", { style: "display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.85rem" });
  ui.stage.append(legend, picture);
  const text = (x, y, words, extra = {}) => ui.svg("text", { x, y, fill: "currentColor", "font-size": 13, ...extra }, words);

  window.addEventListener("resize", () => ui.redraw());
  return (values) => {
    const [name, p, m, cost] = [values.schedule, values.stages, values.stages * values.rounds, times[values.times]];
    const v = name === "interleaved" ? values.chunks : 1;
    const slots = timeline(name, p, m, v, cost);
    const length = Math.max(...slots.map((s) => s[s.length - 1].end));
    const busy = slots.flat().reduce((sum, s) => sum + s.end - s.begin, 0);
    micros.put(m);
    idle.put(1 - busy / (p * length));
    formula.put(bubble(name, p, m, v, cost));
    span.put(length / (v * cost[0]));
    held.put(most(slots[0], v));

    const kinds = name === "zero bubble" ? ["F", "B", "W"] : ["F", "B"];
    legend.replaceChildren(...kinds.map((kind) => ui.html("span", {},
      ui.html("span", { "aria-hidden": "true", style: `display:inline-block;width:.8em;height:.8em;margin-right:.35em;background:${COLORS[kind]}` }),
      kind === "B" && kinds.length === 2 ? "B: whole backward" : WORDS[kind])));
    const width = Math.max(280, Math.min(720, ui.figure.clientWidth - 34));
    const [LEFT, ROW] = [58, 34];
    const scale = (width - LEFT - 2) / length;
    picture.replaceChildren(...slots.flatMap((line, s) => [
      text(0, s * ROW + 20, `stage ${s}`),
      ui.svg("rect", { x: LEFT, y: s * ROW + 3, width: length * scale, height: ROW - 8, fill: "none", stroke: "currentColor", "stroke-opacity": 0.35 }),
      ...line.flatMap((slot) => {
        const [x, w] = [LEFT + slot.begin * scale, (slot.end - slot.begin) * scale];
        const label = `${slot.kind}${slot.micro}`;
        const shade = { opacity: 1 - (0.45 * slot.chunk) / Math.max(v - 1, 1) };
        return [
          ui.svg("rect", { x, y: s * ROW + 3, width: Math.max(w - 0.8, 0.4), height: ROW - 8, fill: COLORS[slot.kind], ...shade }),
          w > 9 * label.length ? text(x + w / 2, s * ROW + 20, label, { "text-anchor": "middle", "font-size": 11, fill: "#000" }) : null,
        ];
      }),
    ]));
    picture.setAttribute("viewBox", `0 0 ${width} ${p * ROW + 4}`);
    picture.setAttribute("width", width);
    picture.setAttribute("aria-label",
      `${name} with ${p} stages and ${m} micro-batches: ${ui.format.percent(1 - busy / (p * length))} of the time is idle.`);
  };
});
