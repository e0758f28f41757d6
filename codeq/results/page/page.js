"use strict";

const NARROW = 600; // pixels, below which plots of one figure are below each other
const figures = new Map(), selects = new Map();
const descriptions = JSON.parse(document.getElementById("hover")?.textContent ?? "{}");
const dark = matchMedia("(prefers-color-scheme: dark)");

// Plotly draws text, grid and axes in fixed colours, so they follow the page's.
function themed() {
  const style = getComputedStyle(document.documentElement);
  const [text, line, page] = ["--text", "--line", "--page"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true };
  const hoverlabel = { bgcolor: page, font: { color: text } };
  return { layout: { font: { color: text }, xaxis: axis, yaxis: axis, hoverlabel } };
}

// On a dark page the darkest colours are replaced by lighter ones of the same hue.
function data(figure) {
  if (!dark.matches) return figure.data;
  const text = JSON.stringify(figure.data);
  return JSON.parse(text.replaceAll("#0072B2", "#56B4E9").replaceAll("#00224e", "#6a86c9").replaceAll("#35456c", "#8a9bbf"));
}

function arranged(figure, width) {
  const layout = JSON.parse(JSON.stringify(figure.layout));
  if (width < NARROW && layout.grid?.columns > 1) {
    const rows = new Set(figure.data.map((trace) => trace.xaxis)).size;
    layout.height *= rows / layout.grid.rows;
    Object.assign(layout.grid, { rows, columns: 1 });
  }
  if (width < NARROW && layout.annotations) { // the ends of neighbouring axes
    for (const end of layout.annotations) if (end.x % 2) end.yshift *= 2;
    layout.yaxis.range = [-0.2, 1.2];
  }
  return Object.assign(layout, { width, template: themed() });
}

async function draw(element) {
  const figure = figures.get(element), select = selects.get(element);
  const layout = arranged(figure, element.clientWidth);
  element.style.height = `${layout.height}px`;
  await Plotly.react(element, data(figure), layout, { displayModeBar: false });
  if (select?.selectedIndex) await choose(element);
}

function choose(element) {
  const { buttons } = figures.get(element);
  return Plotly.update(element, ...buttons[selects.get(element).selectedIndex].args);
}

// The buttons of a figure become a select of the page, which follows its colours and wraps on narrow screens.
function addSelect(element, buttons) {
  const label = document.createElement("label"), select = document.createElement("select");
  label.append("x axis ", select);
  for (const button of buttons) select.append(new Option(button.label));
  select.addEventListener("change", () => choose(element));
  selects.set(element, select);
  element.before(label);
}

function show(group, option) {
  for (const plot of group.querySelectorAll(".plot")) {
    plot.hidden = plot.dataset.option !== option;
    if (!plot.hidden) draw(plot);
  }
}

for (const element of document.querySelectorAll(".plot")) {
  const figure = JSON.parse(element.querySelector("script").textContent);
  for (const trace of figure.data) {
    if (trace.customdata) trace.text = trace.customdata.map((trial) => descriptions[trial]?.join("<br>"));
  }
  figure.buttons = figure.layout.updatemenus?.[0].buttons;
  if (figure.buttons) addSelect(element, figure.buttons);
  delete figure.layout.updatemenus;
  figures.set(element, figure);
}
for (const group of document.querySelectorAll(".group")) {
  const first = group.querySelector(".plot");
  for (const plot of group.querySelectorAll(".plot")) plot.hidden = plot !== first;
  const label = group.previousElementSibling;
  const select = label && label.querySelector ? label.querySelector(".switch") : null;
  if (select) select.addEventListener("change", () => show(group, select.value));
}
// One after the other, from the top, so that the page can be read and scrolled after the first.
let drawnWidth = 0;
async function drawAll() {
  drawnWidth = document.body.clientWidth;
  const shown = [...figures.keys()].filter((element) => !element.hidden);
  for (const element of shown) {
    await draw(element);
    document.body.dataset.begunMs ??= performance.now();
    await new Promise((resolve) => setTimeout(resolve));
  }
  document.body.dataset.drawnMs = performance.now();
  document.body.dataset.drawn = shown.length;
}
drawAll();
dark.addEventListener("change", drawAll);
let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => { if (document.body.clientWidth !== drawnWidth) drawAll(); }, 200);
});

for (const table of document.querySelectorAll(".sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (head.classList.contains("text")) return;
    head.tabIndex = 0;
    const sort = () => {
      const up = head.getAttribute("aria-sort") === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => {
        const [x, y] = [value(a), value(b)];
        const numbers = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
        return (numbers ? x - y : String(x).localeCompare(String(y))) * (up ? 1 : -1);
      };
      [...table.tBodies[0].rows].sort(order).forEach((row) => table.tBodies[0].append(row));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", () => {
    const text = button.nextElementSibling.textContent;
    const done = () => { button.textContent = "copied"; };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done);
    else { getSelection().selectAllChildren(button.nextElementSibling); document.execCommand("copy"); done(); }
  });
}
