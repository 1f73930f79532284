(() => {
  "use strict";
  const tip = document.getElementById("tip");

  for (const chart of document.querySelectorAll("svg.chart")) {
    const marks = [...chart.querySelectorAll("[data-tip]")];
    let current = -1;
    const show = (index) => {
      if (current >= 0) delete marks[current].dataset.on;
      current = index;
      tip.hidden = index < 0;
      if (index < 0) return;
      const mark = marks[index];
      mark.dataset.on = "";
      tip.textContent = mark.dataset.tip;
      const box = chart.getBoundingClientRect();
      const scale = box.width / chart.viewBox.baseVal.width;
      const x = box.left + mark.dataset.x * scale, y = box.top + mark.dataset.y * scale;
      const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
      tip.style.left = Math.max(8, Math.min(x - tip.offsetWidth / 2, room)) + "px";
      tip.style.top = (y - tip.offsetHeight - 14 > 4 ? y - tip.offsetHeight - 14 : y + 16) + "px";
    };
    const nearest = (event) => {
      const box = chart.getBoundingClientRect();
      const scale = box.width / chart.viewBox.baseVal.width;
      let best = -1, least = 60 * 60;
      marks.forEach((mark, index) => {
        const dx = box.left + mark.dataset.x * scale - event.clientX, dy = box.top + mark.dataset.y * scale - event.clientY;
        const bar = mark.tagName === "rect" ? dy * dy * 9 + (dx < 0 || dx > 0 ? 1 : 0) : dx * dx * 4 + dy * dy;
        if (bar < least) { least = bar; best = index; }
      });
      show(best);
    };
    chart.addEventListener("pointermove", nearest);
    chart.addEventListener("pointerdown", nearest);
    chart.addEventListener("pointerleave", () => show(-1));
    chart.addEventListener("blur", () => show(-1));
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") show(-1);
      if (!step || !marks.length) return;
      event.preventDefault();
      show((current + step + marks.length) % marks.length);
    });
  }

  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const rising = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && !head.classList.contains("n"));
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", rising ? "ascending" : "descending");
        const key = (row) => {
          const cell = row.cells[column];
          return cell.dataset.order === undefined ? cell.textContent : Number(cell.dataset.order);
        };
        const rows = [...body.rows].sort((a, b) => {
          const x = key(a), y = key(b);
          if (typeof x === "number" && typeof y === "number") return x === y ? 0 : x - y;
          return String(x).localeCompare(String(y), undefined, { numeric: true });
        });
        body.append(...(rising ? rows : rows.reverse()));
      });
    });
    const filter = table.parentElement.previousElementSibling;
    if (filter && filter.matches("input.filter")) {
      filter.addEventListener("input", () => {
        const words = filter.value.toLowerCase().split(/\s+/);
        for (const row of body.rows) {
          const text = [...row.cells].map((cell) => cell.textContent).join("\n").toLowerCase();
          row.hidden = !words.every((word) => text.includes(word));
        }
      });
    }
  }

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -75% 0px" });
  document.querySelectorAll("main section").forEach((section) => seen.observe(section));
})();
