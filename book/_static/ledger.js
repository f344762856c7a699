// Filters the ledger. The choice is kept in the address (#chapter=…&verdict=…), so that it can be shared.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector(".dl-filter");
  if (!form) return;
  const rows = [...document.querySelectorAll(".dl-ledger tbody tr")];
  const fields = ["chapter", "verdict", "source", "text"].map((name) => form.elements[name]);
  const unfold = form.elements["unfold"];

  const apply = () => {
    const chosen = fields.filter((field) => field.value.trim());
    for (const row of rows)
      row.hidden = !chosen.every((field) =>
        field.name === "text"
          ? row.dataset.text.includes(field.value.trim().toLowerCase())
          : row.dataset[field.name] === field.value
      );
    const shown = rows.filter((row) => !row.hidden).length;
    form.querySelector(".dl-status").textContent = `${shown} of ${rows.length} statements shown`;
    const state = new URLSearchParams(chosen.map((field) => [field.name, field.value]));
    history.replaceState(null, "", state.size || chosen.length ? `#${state}` : location.pathname + location.search);
  };

  const restore = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target) return target.querySelector("details").setAttribute("open", "");
    const state = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) field.value = state.get(field.name) ?? "";
    apply();
  };

  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  unfold.addEventListener("click", () => {
    const open = unfold.getAttribute("aria-pressed") !== "true";
    unfold.setAttribute("aria-pressed", open);
    for (const details of document.querySelectorAll(".dl-ledger details")) details.open = open;
  });
  window.addEventListener("hashchange", restore);
  form.hidden = false;
  restore();
});
