/* Shared library of the explorables: labelled controls, redraw on input, numbers that tests can read.
   labs/book/explorables.py inlines it before the explorable's own script and documents its use. */
const Explorable = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  /** Fill an element: attributes (null and false are left out, on* become listeners), then children. */
  function fill(element, attributes, children) {
    for (const [key, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else element.setAttribute(key, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }
  const html = (tag, attributes, ...children) =>
    fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);

  const PREFIXES = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const format = {
    /** 1234.5 -> "1,234.5" with a fixed number of decimals. */
    fixed: (x, digits = 2) =>
      x.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
    /** 0.00012345 -> "0.000123"; 31.4159 -> "31.4": significant digits, no exponent. */
    significant: (x, digits = 3) => x.toLocaleString("en-US", { maximumSignificantDigits: digits }),
    /** 7.5e9, "B" -> "7.5 GB": decimal prefixes (1 GB = 10^9 B). */
    si(x, unit = "", digits = 3) {
      const [scale, prefix] = PREFIXES.find(([size]) => Math.abs(x) >= size) || [1, ""];
      return `${format.significant(x / scale, digits)} ${prefix}${unit}`.trim();
    },
    percent: (x, digits = 1) => `${format.fixed(100 * x, digits)} %`,
  };

  /** One figure: its controls, its numbers, its stage; see explorables.py. */
  class Ui {
    constructor(figure) {
      this.figure = figure;
      this.data = JSON.parse(figure.querySelector(".explorable-data").textContent);
      this.html = html;
      this.svg = svg;
      this.format = format;
      this.values = {};
      this.resets = [];
      this.draw = () => {};
      this.controls = html("div", { class: "explorable-controls", role: "group", "aria-label": "Controls" });
      this.stage = html("div", { class: "explorable-stage" });
      this.numbers = html("dl", { class: "explorable-numbers" });
    }

    id(name) {
      return `${this.figure.id}-${name}`;
    }

    /** Set one value (also from a control of the author's own) and redraw. */
    set(name, value) {
      if (Object.is(this.values[name], value)) return;
      this.values[name] = value;
      this.redraw();
    }

    redraw() {
      this.draw(this.values);
    }

    /** One labelled row: label, input, and after it the value in words. */
    row(name, label, input, shown) {
      input.id = this.id(name);
      input.dataset.control = name;
      const row = html("div", { class: "explorable-control" });
      row.append(html("label", { for: input.id }, label), input);
      if (shown) row.append(shown);
      this.controls.append(row);
      return input;
    }

    /** Range input over min..max, or over the list `steps` (powers of two, model sizes). */
    slider({ name, label, min, max, step = 1, steps = null, value, show = String }) {
      const shown = html("span", { class: "explorable-shown", "aria-hidden": "true" });
      const [low, high, by] = steps ? [0, steps.length - 1, 1] : [min, max, step];
      const input = html("input", { type: "range", min: low, max: high, step: by });
      const position = (v) => (steps ? steps.indexOf(v) : v);
      const read = () => (steps ? steps[Number(input.value)] : Number(input.value));
      const label_value = () => {
        shown.textContent = show(read());
        input.setAttribute("aria-valuetext", shown.textContent);
      };
      if (steps && position(value) < 0) throw new Error(`${name}: ${value} is not one of the steps`);
      const put = (v) => {
        input.value = position(v);
        label_value();
        this.values[name] = read();
      };
      input.addEventListener("input", () => {
        label_value();
        this.set(name, read());
      });
      this.resets.push(() => put(value));
      put(value);
      return this.row(name, label, input, shown);
    }

    /** Drop-down list; options are [value, label] pairs, values keep their type. */
    select({ name, label, options, value = options[0][0] }) {
      const input = html("select", {}, options.map(([, text], i) => html("option", { value: i }, text)));
      const put = (v) => {
        input.value = options.findIndex(([option]) => option === v);
        this.values[name] = v;
      };
      input.addEventListener("change", () => this.set(name, options[Number(input.value)][0]));
      this.resets.push(() => put(value));
      put(value);
      return this.row(name, label, input);
    }

    /** Checkbox: true or false. */
    toggle({ name, label, value = false }) {
      const input = html("input", { type: "checkbox" });
      const put = (v) => {
        input.checked = v;
        this.values[name] = v;
      };
      input.addEventListener("change", () => this.set(name, input.checked));
      this.resets.push(() => put(value));
      put(value);
      return this.row(name, label, input);
    }

    /** A number of the result. `.put(x)` shows show(x) and keeps x itself in data-value. */
    output({ name, label, show = String, live = false }) {
      const output = html("output", {
        id: this.id(name), "data-output": name, "aria-live": live ? "polite" : "off",
      });
      this.numbers.append(html("div", {}, html("dt", {}, label), html("dd", {}, output)));
      output.put = (x) => {
        output.dataset.value = String(x);
        output.textContent = show(x);
      };
      return output;
    }

    /** Show the live figure in place of the static one. */
    mount() {
      const reset = html("button", { type: "button", class: "explorable-reset" }, "Reset");
      reset.addEventListener("click", () => {
        this.resets.forEach((put) => put());
        this.redraw();
      });
      if (this.resets.length) this.controls.append(reset);
      this.redraw();
      const live = this.figure.querySelector(".explorable-live");
      live.replaceChildren(
        ...[this.controls, this.stage, this.numbers].filter((part) => part.childElementCount),
      );
      live.hidden = false;
      this.figure.querySelector(".explorable-static").hidden = true;
      this.figure.dataset.ready = "true";
    }
  }

  /** Bring every waiting figure of this name to life; setup(ui) returns its draw(values). */
  function register(name, setup) {
    const waiting = `figure.explorable[data-explorable="${name}"]:not([data-ready])`;
    document.querySelectorAll(waiting).forEach((figure) => {
      const ui = new Ui(figure);
      ui.draw = setup(ui);
      ui.mount();
    });
  }

  return { register, format };
})();
