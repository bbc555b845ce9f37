"use strict";
(() => {
  const box = document.getElementById("row-filter");
  if (!box) return;
  const input = document.getElementById("row-filter-text");
  const count = document.getElementById("row-filter-count");
  const rows = Array.from(document.querySelectorAll("li.row"), (row) => [row, row.textContent.toLowerCase()]);
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) shown += 1;
    }
    count.textContent = words.length ? shown + " of " + rows.length + " rows" : "";
  };
  input.addEventListener("input", apply);
  box.hidden = false;
})();
