// Small helps for pages that work without them. No inline handlers and no eval: the Content-Security-Policy forbids both.
"use strict";

(() => {
  // A page that comes back with errors starts at the summary, so that a screen reader reads it first.
  const summary = document.querySelector("[data-focus]");
  if (summary) summary.focus();

  // Sending twice is harmless (form_key), but showing that something happens saves the second click.
  document.addEventListener("submit", (event) => {
    const pressed = event.submitter;
    const button = pressed?.matches(".default-button") ? event.target.querySelector(".button.primary, .button.success") : pressed;
    if (!(button instanceof HTMLButtonElement) || event.defaultPrevented) return;
    if (event.target.dataset.sent === "1") { event.preventDefault(); return; }
    event.target.dataset.sent = "1";
    // After the event: a disabled button would not be sent with the form.
    setTimeout(() => {
      button.dataset.busy = "";
      button.setAttribute("aria-busy", "true");
      button.setAttribute("aria-disabled", "true");
      if (button.dataset.pending) { button.dataset.label = button.textContent; button.textContent = button.dataset.pending; }
    });
    // A form that is answered by a download leaves the page as it is.
    setTimeout(ready, 15000);
  });
  window.addEventListener("pageshow", ready);

  function ready() {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    for (const button of document.querySelectorAll("button[data-busy]")) {
      for (const name of ["aria-busy", "aria-disabled", "data-busy"]) button.removeAttribute(name);
      if (button.dataset.label) button.textContent = button.dataset.label;
    }
  }

  for (const block of document.querySelectorAll("[data-copy]")) {
    const [field, button] = [block.querySelector("input"), block.querySelector("button")];
    const words = button.querySelector("span");
    const before = words.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      field.select();
      try { await navigator.clipboard.writeText(field.value); } catch { document.execCommand("copy"); }
      words.textContent = button.dataset.copied;
      setTimeout(() => { words.textContent = before; }, 2000);
    });
  }

  for (const drop of document.querySelectorAll("[data-drop]")) {
    const [field, list] = [drop.querySelector("input[type=file]"), drop.querySelector("[data-chosen]")];
    const show = () => {
      list.replaceChildren(...Array.from(field.files, (file) => {
        const row = document.createElement("li");
        row.className = "file-row";
        row.append(file.name, " ", Object.assign(document.createElement("span"), { className: "muted", textContent: size(file.size) }));
        return row;
      }));
      list.hidden = field.files.length === 0;
    };
    field.addEventListener("change", show);
    for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("is-over"); });
    for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("is-over"));
    drop.addEventListener("drop", (event) => {
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      field.files = event.dataTransfer.files;
      field.dispatchEvent(new Event("change", { bubbles: true }));
    });
  }

  function size(bytes) {
    const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
    const step = bytes < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(bytes) / 3));
    const form = new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit: units[step], maximumFractionDigits: step ? 1 : 0 });
    return form.format(bytes / 1000 ** step);
  }

  // Menus that float close on Escape and on a click elsewhere; confirm blocks stay, they hold a decision.
  const floating = "details.account[open], details.explain[open]";
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const open of document.querySelectorAll(floating)) { open.open = false; open.querySelector("summary").focus(); }
  });
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll(floating)) if (!open.contains(event.target)) open.open = false;
  });
})();
