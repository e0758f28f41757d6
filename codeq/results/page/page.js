"use strict";

// Plotly draws text, grid and axes in fixed colours, so they follow the page's.
function colours() {
  const style = getComputedStyle(document.documentElement);
  const text = style.getPropertyValue("--text").trim(), line = style.getPropertyValue("--line").trim();
  return { text, line, page: style.getPropertyValue("--page").trim() };
}

function themed(layout) {
  const { text, line, page } = colours();
  layout.font = Object.assign({}, layout.font, { color: text });
  for (const key of Object.keys(layout).concat("xaxis", "yaxis")) {
    if (/^[xy]axis\d*$/.test(key)) {
      layout[key] = Object.assign({}, layout[key], { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true });
    }
  }
  layout.hoverlabel = Object.assign({}, layout.hoverlabel, { bgcolor: page, font: { color: text } });
  return layout;
}

const figures = new Map();
const descriptions = JSON.parse(document.getElementById("hover")?.textContent ?? "{}");
const dark = matchMedia("(prefers-color-scheme: dark)");

// On a dark page the darkest colours are replaced by lighter ones of the same hue.
function data(figure) {
  if (!dark.matches) return figure.data;
  const text = JSON.stringify(figure.data);
  return JSON.parse( text.replaceAll("#0072B2", "#56B4E9").replaceAll("#00224e", "#6a86c9").replaceAll("#35456c", "#8a9bbf"));
}

function draw(element) {
  const figure = figures.get(element), traces = data(figure);
  const layout = themed(JSON.parse(JSON.stringify(figure.layout)));
  return Plotly.react(element, traces, layout, { responsive: true, displayModeBar: false });
}

// The buttons of a figure become a select of the page, which follows its colours and wraps on narrow screens.
function addSelect(element, buttons) {
  const label = document.createElement("label"), select = document.createElement("select");
  label.append("x axis ", select);
  for (const button of buttons) select.append(new Option(button.label));
  select.addEventListener("change", () => Plotly.update(element, ...buttons[select.selectedIndex].args));
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
    if (trace.customdata) trace.text = trace.customdata.map((trial) => descriptions[trial]);
  }
  if (figure.layout.updatemenus) addSelect(element, figure.layout.updatemenus[0].buttons);
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
async function drawAll() {
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
dark.addEventListener("change", () => { for (const element of figures.keys()) if (!element.hidden) draw(element); });

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
    const text = button.previousElementSibling.textContent;
    const done = () => { button.textContent = "copied"; };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done);
    else { getSelection().selectAllChildren(button.previousElementSibling); document.execCommand("copy"); done(); }
  });
}
