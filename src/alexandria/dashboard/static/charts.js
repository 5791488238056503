// Draws the charts of a page with uPlot, from the numbers that each figure bears in `data-chart` (charts.py says what they mean).
"use strict";

const HEIGHT = 220;
const plots = new Map(); // id of a figure -> { plot, data }
const dark = matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

// Bars upon each other are drawn as sums, the highest first, so that the lower ones cover them.
function columns(chart) {
  const values = chart.series.map((each) => each.values);
  if (chart.kind !== "stacked") return [chart.x, ...values];
  const sums = chart.x.map(() => 0);
  const stacked = values.map((each) => each.map((value, place) => (sums[place] += value ?? 0)));
  return [chart.x, ...stacked.reverse()];
}

function inDrawingOrder(chart) {
  return chart.kind === "stacked" ? [...chart.series].reverse() : chart.series;
}

function seriesOptions(chart, each) {
  const line = colour(`--series-${each.colour}`);
  const isLine = chart.kind === "line";
  const options = {
    label: each.name,
    stroke: line,
    width: isLine ? 2 : 0,
    dash: each.dashed ? [6, 5] : undefined,
    fill: isLine ? (each.filled ? `${line}2e` : undefined) : line,
    points: { show: isLine && each.values.filter((value) => value !== null).length < 2 },
    spanGaps: false,
    value: (plot, _, index, place) => {
      const value = place === null ? null : inDrawingOrder(plots.get(plot.root.closest("figure")?.id)?.chart ?? chart)[index - 1].values[place];
      return value === null || value === undefined ? "–" : exact.format(value);
    },
  };
  if (!isLine) options.paths = uPlot.paths.bars({ size: [0.7, 44] });
  return options;
}

function axes(chart) {
  const common = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const below = chart.names
    ? { ...common, size: 30, grid: { show: false }, incrs: [1, 2, 5, 7, 10, 20, 50, 100], space: 64, values: (_, places) => places.map((place) => chart.names[place] ?? "") }
    : { ...common, size: 30, grid: { show: false }, space: 64, values: [
        [86400, "{MMM} {D}", null, null, null, null, null, null, 1],
        [3600, "{HH}:{mm}", null, null, null, null, null, null, 1],
        [60, "{HH}:{mm}", null, null, null, null, null, null, 1],
      ] };
  const beside = { ...common, size: 52, label: chart.unit, labelSize: 18, labelFont: "12px system-ui, sans-serif", labelGap: 0, values: (_, values) => values.map((value) => short.format(value)) };
  return [below, beside];
}

function options(chart, width) {
  const isIndexed = chart.names !== null;
  return {
    width,
    height: HEIGHT,
    scales: {
      x: { time: !isIndexed, range: isIndexed ? (_, least, most) => [least - 0.6, most + 0.6] : undefined },
      y: { range: (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.08)] },
    },
    axes: axes(chart),
    cursor: { drag: { x: false, y: false }, points: { show: chart.kind === "line" } },
    legend: { live: true },
    series: [
      { label: "at", value: (_, value) => (value === null ? "–" : isIndexed ? (chart.names[value] ?? "") : new Date(1000 * value).toLocaleString(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" })) },
      ...inDrawingOrder(chart).map((each) => seriesOptions(chart, each)),
    ],
  };
}

function shape(chart) {
  return JSON.stringify([chart.kind, chart.unit, chart.names, chart.series.map((each) => [each.name, each.colour, each.dashed, each.filled])]);
}

function draw(figure, isAnew) {
  const place = figure.querySelector(".plot");
  const text = figure.dataset.chart;
  const known = plots.get(figure.id);
  if (!isAnew && known?.text === text && place.contains(known.plot.root)) return;
  const chart = JSON.parse(text);
  if (!isAnew && known && place.contains(known.plot.root) && shape(known.chart) === shape(chart)) {
    plots.set(figure.id, { plot: known.plot, text, chart });
    known.plot.setData(columns(chart));
    return;
  }
  known?.plot.destroy();
  place.replaceChildren();
  if (!chart.x.length) return;
  const plot = new uPlot(options(chart, place.clientWidth || 300), columns(chart), place);
  plots.set(figure.id, { plot, text, chart });
  widths.observe(place);
}

const widths = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    const known = plots.get(target.closest("figure")?.id);
    const width = Math.floor(target.clientWidth);
    if (known && width > 0 && known.plot.width !== width) known.plot.setSize({ width, height: HEIGHT });
  }
});

function drawCharts(within, isAnew = false) {
  for (const figure of within.querySelectorAll("figure.chart")) draw(figure, isAnew);
}

dark.addEventListener("change", () => drawCharts(document, true));
