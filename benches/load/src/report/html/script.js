"use strict";
// Shows the values under the pointer.
for (const svg of document.querySelectorAll("svg[data-chart]")) {
  const chart = JSON.parse(svg.dataset.chart);
  const cursor = svg.querySelector(".cursor");
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  svg.parentNode.append(tip);
  const nearest = (points, x) => points.reduce((best, point) =>
    Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best, points[0]);
  const place = x => chart.rank ? `${+(100 - 100 / 10 ** x).toFixed(5)} %` : `${x.toFixed(1)} s`;
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * chart.width;
    const x = (at - chart.left) / (chart.right - chart.left) * chart.xMax;
    const found = chart.series.filter(one => one.points.length).map(one => [one.name, nearest(one.points, x)]);
    if (x < 0 || x > chart.xMax || !found.length) return hide();
    const first = found[0][1][0];
    const line = chart.left + first / chart.xMax * (chart.right - chart.left);
    cursor.setAttribute("x1", line);
    cursor.setAttribute("x2", line);
    cursor.setAttribute("visibility", "visible");
    const value = y => y.toLocaleString("en", { maximumSignificantDigits: 4 });
    tip.textContent = [place(first), ...found.map(([name, [, y]]) => `${name}: ${value(y)} ${chart.unit}`)].join("\n");
    tip.hidden = false;
    const left = line / chart.width * box.width;
    tip.style.left = left > box.width / 2 ? "" : `${left + 24}px`;
    tip.style.right = left > box.width / 2 ? `${box.width - left + 24}px` : "";
  });
  const hide = () => {
    tip.hidden = true;
    cursor.setAttribute("visibility", "hidden");
  };
  svg.addEventListener("pointerleave", hide);
}
