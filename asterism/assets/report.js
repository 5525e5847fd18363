// What a report can do beyond being read: charts with values on hover, lines that can be hidden, logarithmic scales; pictures
// enlarged. The charts are redrawn in the width that there is.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 250;
const PAD = { left: 52, right: 10, top: 8, bottom: 24 };
const FEW = 40;  // Up to so many points are marked one by one.

function element(name, attributes = {}, ...children) {
  const made = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function short(value) {
  const size = Math.abs(value);
  if (size >= 1e4) return size >= 1e6 ? `${+(value / 1e6).toPrecision(3)}M` : `${+(value / 1e3).toPrecision(3)}k`;
  return size !== 0 && size < 1e-3 ? (+value.toPrecision(2)).toExponential() : String(+value.toPrecision(3));
}

// A tick as the report's own drawing labels it.
function label(value, unit) {
  return unit === "share" ? `${+(value * 100).toPrecision(3)}%` : short(value);
}

function exact(value, unit) {
  if (unit === "share") return `${(value * 100).toFixed(1)}%`;
  return Math.abs(value) >= 1e-3 || value === 0 ? String(+value.toPrecision(4)) : value.toExponential(2);
}

// Round steps of 1, 2 or 5 times a power of ten.
function evenTicks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= raw) * power;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(i * step);
  return ticks;
}

// A logarithmic axis that can hold negative values too: linear between -knee and knee, logarithmic beyond.
function symlog(knee) {
  return (value) => Math.sign(value) * Math.log10(1 + Math.abs(value) / knee);
}

function valueAxis(values, logarithmic) {
  let low = Math.min(...values), high = Math.max(...values);
  if (low === high) [low, high] = low === 0 ? [-1, 1] : [low - Math.abs(low) / 2, high + Math.abs(high) / 2];
  const sizes = values.map(Math.abs).filter((size) => size > 0).sort((a, b) => a - b);
  if (!logarithmic || !sizes.length) {
    const margin = (high - low) * 0.05;
    low -= margin; high += margin;
    return { scale: (value) => value, low, high, ticks: evenTicks(low, high, 5) };
  }
  const knee = 10 ** Math.floor(Math.log10(sizes[Math.floor(sizes.length * 0.05)]));
  const decades = [], ticks = [0];
  for (let size = knee; size <= Math.max(-low, high) * 1.001; size *= 10) decades.unshift(+size.toPrecision(6));
  const stride = Math.ceil(decades.length / 4);
  decades.filter((_, i) => i % stride === 0).forEach((size) => ticks.push(size, -size));
  return { scale: symlog(knee), low, high, ticks: ticks.filter((tick) => tick >= low && tick <= high) };
}

function colour(series) {
  return `var(--c${series.colour})`;
}

class Chart {
  constructor(figure, chart) {
    this.figure = figure;
    this.chart = chart;
    this.hidden = new Set();
    this.logarithmic = false;
    this.svg = element("svg:svg", { role: "img", "aria-label": figure.querySelector("svg").getAttribute("aria-label") });
    this.tip = element("div", { class: "tip", hidden: "" });
    const caption = element("figcaption", {}, element("span", {}, chart.title), this.scaleButtons());
    const named = figure.querySelector(".legend") ? [this.legend()] : [];
    figure.replaceChildren(caption, this.svg, ...named, this.tip);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.leave());
    new ResizeObserver(() => this.draw()).observe(figure);
  }

  scaleButtons() {
    const group = element("span", { class: "scale" });
    for (const [name, logarithmic] of [["linear", false], ["log", true]]) {
      const button = element("button", { type: "button", "aria-pressed": String(logarithmic === this.logarithmic) }, name);
      button.addEventListener("click", () => {
        this.logarithmic = logarithmic;
        for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
        this.draw();
      });
      group.append(button);
    }
    return group;
  }

  legend() {
    const list = element("div", { class: "legend" });
    for (const series of this.chart.series) {
      const swatch = element("i", { class: "swatch", style: `--colour:${colour(series)}` });
      const button = element("button", { type: "button", "aria-pressed": "true" }, swatch, series.name);
      button.addEventListener("click", () => {
        if (!this.hidden.delete(series)) this.hidden.add(series);
        button.setAttribute("aria-pressed", String(!this.hidden.has(series)));
        this.draw();
      });
      list.append(button);
    }
    return list;
  }

  visible() {
    return this.chart.series.filter((series) => !this.hidden.has(series));
  }

  draw() {
    const width = Math.max(240, this.figure.clientWidth), shown = this.visible();
    const points = (shown.length ? shown : this.chart.series).flatMap((series) => series.points);
    const steps = points.map(([step]) => step), first = Math.min(...steps), last = Math.max(...steps);
    const axis = valueAxis(points.map(([, value]) => value), this.logarithmic);
    const [bottom, top] = [axis.scale(axis.low), axis.scale(axis.high)];
    const few = this.chart.axis === "passes", place = few ? Math.log1p : (step) => step;  // Else 1 and 2 of 100 would meet.
    const along = (step) => last > first ? (place(step) - place(first)) / (place(last) - place(first)) : 0.5;
    this.x = (step) => PAD.left + (width - PAD.left - PAD.right) * along(step);
    this.y = (value) => HEIGHT - PAD.bottom - (HEIGHT - PAD.top - PAD.bottom) * ((axis.scale(value) - bottom) / (top - bottom));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const parts = [element("svg:text", { x: 0, y: HEIGHT - 5 }, this.chart.axis)];
    for (const tick of axis.ticks) {
      const y = this.y(tick).toFixed(1);
      parts.push(element("svg:line", { class: tick === 0 ? "zero" : "grid", x1: PAD.left, x2: width - PAD.right, y1: y, y2: y }));
      parts.push(element("svg:text", { x: PAD.left - 8, y: +y + 4, "text-anchor": "end" }, label(tick, this.chart.unit)));
    }
    const even = last > first && !few;
    for (const tick of few ? new Set(steps) : even ? evenTicks(first, last, Math.max(2, width / 110)) : [first]) {
      parts.push(element("svg:text", { x: this.x(tick), y: HEIGHT - 5, "text-anchor": "middle" }, short(tick)));
    }
    for (const mark of this.chart.marks.filter((mark) => mark.step >= first && mark.step <= last)) {
      const x = this.x(mark.step), style = `stroke:${colour(mark)}`;
      parts.push(element("svg:line", { class: "mark", x1: x, x2: x, y1: PAD.top, y2: HEIGHT - PAD.bottom, style }));
    }
    for (const series of shown) {
      const places = series.points.map(([step, value]) => [this.x(step).toFixed(1), this.y(value).toFixed(1)]);
      const d = `M${places.map((place) => place.join(" ")).join("L")}`;
      parts.push(element("svg:path", { class: "line", d, style: `stroke:${colour(series)}` }));
      if (places.length <= FEW) {
        for (const [cx, cy] of places) parts.push(element("svg:circle", { cx, cy, r: 2.4, style: `fill:${colour(series)}` }));
      }
    }
    this.cross = element("svg:g");
    this.svg.replaceChildren(...parts, this.cross);
    this.tip.hidden = true;
  }

  point(event) {
    const box = this.svg.getBoundingClientRect(), place = event.clientX - box.left;
    const near = this.visible().map((series) => [series, series.points.reduce((a, b) =>
      Math.abs(this.x(b[0]) - place) < Math.abs(this.x(a[0]) - place) ? b : a)]);
    if (!near.length) return this.leave();
    const step = near.map(([, point]) => point[0]).reduce((a, b) => Math.abs(this.x(b) - place) < Math.abs(this.x(a) - place) ? b : a);
    const x = this.x(step), marks = [element("svg:line", { class: "cross", x1: x, x2: x, y1: PAD.top, y2: HEIGHT - PAD.bottom })];
    const rows = [element("div", {}, element("span", {}, this.chart.axis), element("b", {}, step.toLocaleString("en")))];
    for (const [series, [at, value]] of near) {
      marks.push(element("svg:circle", { cx: this.x(at), cy: this.y(value), r: 3.6, style: `fill:${colour(series)}` }));
      const dot = element("i", { class: "swatch", style: `--colour:${colour(series)}` });
      rows.push(element("div", {}, element("span", {}, dot, series.name), element("span", {}, exact(value, this.chart.unit))));
    }
    for (const mark of this.chart.marks) {
      if (mark.step === step) rows.push(element("div", {}, mark.name));
    }
    this.cross.replaceChildren(...marks);
    this.tip.replaceChildren(...rows);
    this.tip.hidden = false;
    const left = x > box.width / 2 ? x - this.tip.offsetWidth - 14 : x + 14;
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${box.top - this.figure.getBoundingClientRect().top + PAD.top}px`;
  }

  leave() {
    this.cross.replaceChildren();
    this.tip.hidden = true;
  }
}

const charts = JSON.parse(document.getElementById("charts").textContent);
document.querySelectorAll(".chart").forEach((figure, i) => new Chart(figure, charts[i]));

const dialog = document.querySelector("dialog");
dialog.addEventListener("click", () => dialog.close());
document.querySelectorAll(".sheet img").forEach((picture) => {
  const enlarge = () => {
    dialog.replaceChildren(picture.closest("figure").cloneNode(true));
    dialog.showModal();
  };
  picture.tabIndex = 0;
  picture.addEventListener("click", enlarge);
  picture.addEventListener("keydown", (event) => {
    if (event.key === "Enter") enlarge();
  });
});

// Paper has no way to open what is folded.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((details) => { details.open = true; });
});
window.addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
