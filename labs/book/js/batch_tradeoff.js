/* Steps, samples and time against the batch size: steps_and_samples of labs/train/noise.py.
   ui.data: batches, scales, devices (lists), start {control: value}. */
Explorable.register("batch_tradeoff", (ui) => {
  const { batches, scales, devices, start } = ui.data;
  const whole = (n) => n.toLocaleString("en");
  const times = (x) => `${ui.format.significant(x, 3)} ×`;
  ui.slider({ name: "batch", label: "Batch, sequences", steps: batches, value: start.batch, show: whole });
  ui.slider({ name: "scale", label: "Noise scale, sequences", steps: scales, value: start.scale, show: whole });
  ui.slider({ name: "devices", label: "Devices that share a batch", steps: devices, value: start.devices, show: whole });
  const steps = ui.output({ name: "steps", label: "Steps, of the least possible", show: times });
  const samples = ui.output({ name: "samples", label: "Sequences, of the least possible", show: times });
  const time = ui.output({ name: "time", label: "Wall time, of one device at a tiny batch", show: times, live: true });

  const of = (batch, scale) => [1 + scale / batch, 1 + batch / scale];
  /** Devices beyond one a sequence have nothing to do; communication is free here. */
  const wall = (v) => of(v.batch, v.scale)[1] / Math.min(v.devices, v.batch);

  const [W, H, L, B, R] = [560, 240, 60, 36, 30];
  const picture = ui.svg("svg", { role: "img", viewBox: `0 0 ${W} ${H}`, style: "max-width:100%;height:auto" });
  ui.stage.append(picture);
  const [low, high] = [Math.log2(batches[0]), Math.log2(batches[batches.length - 1])];
  const x = (batch) => L + ((Math.log2(batch) - low) / (high - low)) * (W - L - R);
  const y = (ratio) => H - B - (Math.min(Math.log2(ratio), 10) / 10) * (H - B - 14);
  const text = (px, py, words, extra = {}) => ui.svg("text", { x: px, y: py, fill: "currentColor", "font-size": 13, ...extra }, words);
  const curve = (which, scale, color, dash) => ui.svg("path", {
    d: batches.map((b, i) => `${i ? "L" : "M"}${x(b).toFixed(1)} ${y(of(b, scale)[which]).toFixed(1)}`).join(""),
    fill: "none", stroke: color, "stroke-width": 3, "stroke-dasharray": dash,
  });

  return (v) => {
    const [s, e] = of(v.batch, v.scale);
    steps.put(s);
    samples.put(e);
    time.put(wall(v));
    picture.replaceChildren(
      ...[1, 4, 16, 64, 256, 1024].flatMap((r) => [
        ui.svg("line", { x1: L, x2: W - R, y1: y(r), y2: y(r), stroke: "currentColor", opacity: 0.2 }),
        text(L - 6, y(r) + 4, `${r} ×`, { "text-anchor": "end" })]),
      ...batches.filter((_, i) => i % 2 === 0).map((b) => text(x(b), H - B + 18, whole(b), { "text-anchor": "middle" })),
      text((L + W - R) / 2, H - 2, "batch, sequences", { "text-anchor": "middle" }),
      curve(0, v.scale, "#3b8fd6", "none"), curve(1, v.scale, "#d9822b", "7 4"),
      ui.svg("line", { x1: x(v.batch), x2: x(v.batch), y1: 10, y2: H - B, stroke: "currentColor", "stroke-dasharray": "2 3" }),
      ui.svg("circle", { cx: x(v.batch), cy: y(s), r: 5, fill: "#3b8fd6" }),
      ui.svg("circle", { cx: x(v.batch), cy: y(e), r: 5, fill: "#d9822b" }),
      text(L + 8, 22, "solid: steps; dashed: sequences"));
    picture.setAttribute("aria-label",
      `Batch ${v.batch}, noise scale ${v.scale}: ${times(s)} the least steps, ${times(e)} the least sequences.`);
  };
});
