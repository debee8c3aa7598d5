// The milestone grid: Enter adds a row, a spreadsheet's rows can be pasted, percent and amount edit each other, and a bar says what is left.
// The rows are plain inputs and the server computes everything again; this only shows it while typing.
// Money is a BigInt of minor units. Percents are BigInts of millionths of a per cent. No floating point touches either.
"use strict";

const ScheduleGrid = (() => {
  const PERCENT_PLACES = 6;
  const WHOLE = 100n * 10n ** BigInt(PERCENT_PLACES);
  const MOST_ROWS = 200;

  // Half away from zero, of a fraction with a positive denominator.
  function roundHalfUp(numerator, denominator) {
    const sign = numerator < 0n ? -1n : 1n;
    return sign * ((2n * sign * numerator + denominator) / (2n * denominator));
  }

  // R1: each part is the difference of two rounded running totals, so the parts of 100 % sum to the total.
  function cumulativeParts(total, weights, whole = WHOLE) {
    let running = 0n;
    let before = 0n;
    return weights.map((weight) => {
      running += weight;
      const upTo = roundHalfUp(total * running, whole);
      const part = upTo - before;
      before = upTo;
      return part;
    });
  }

  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

  function asciiDigits(text) {
    return text.replace(/\p{Nd}/gu, (mark) => {
      let zero = mark.codePointAt(0);
      while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1)) && mark.codePointAt(0) - zero < 9) zero -= 1;
      return mark <= "9" ? mark : String(mark.codePointAt(0) - zero);
    });
  }

  function reading(bare, decimal, group) {
    const found = new RegExp(`^(\\d+|\\d{1,3}(?:${escaped(group)}\\d{3})+)?(?:${escaped(decimal)}(\\d*))?$`).exec(bare);
    if (!found || !/\d/.test(bare)) return null;
    return [(found[1] || "").replaceAll(group, ""), found[2] || ""];
  }

  // The same rules as the server's parse_amount: what could mean two things is not read. Returns minor units, null when empty, undefined when unreadable.
  function parseAmount(text, { decimal, group, groupsBy, digits }) {
    let bare = asciiDigits(text.trim()).replace(/^[A-Z]{3}\s*|\s*[A-Z]{3}$|^\p{Sc}\s*|\s*\p{Sc}$/gu, "");
    if (!bare) return null;
    bare = bare.replace(/(\d)[\s'’\u00a0\u202f](?=\d{3}(?!\d))/g, "$1").replaceAll("\u066b", ".").replaceAll("\u066c", ",");
    const own = reading(bare, decimal, group);
    const other = reading(bare, group, decimal);
    let read = own || other;
    if (!read || read[0].length > 20) return undefined;
    if (own && other && own.join(".") !== other.join(".")) {
      const clear = own[1] ? own[1].length <= digits : groupsBy === group && digits < other[1].length;
      if (!clear) return undefined;
      read = own;
    }
    if (/[1-9]/.test(read[1].slice(digits))) return undefined;
    return BigInt((read[0] || "0") + read[1].slice(0, digits).padEnd(digits, "0"));
  }

  function parsePercent(text) {
    const bare = asciiDigits(text.trim()).replace(/\s*[%٪]$/u, "");
    if (!bare) return null;
    const found = /^(\d{1,3})(?:[.,](\d{1,6}))?$/.exec(bare);
    return found ? BigInt(found[1] + (found[2] || "").padEnd(PERCENT_PLACES, "0")) : undefined;
  }

  function parseDay(text, order) {
    const bare = asciiDigits(text.trim());
    let found = /^(\d{4})[-./](\d{1,2})[-./](\d{1,2})$/.exec(bare);
    let [year, month, day] = found ? found.slice(1).map(Number) : [];
    if (!found) {
      found = /^(\d{1,2})([-./])\s?(\d{1,2})\2\s?(\d{4})$/.exec(bare);
      if (!found) return undefined;
      const [one, two] = [Number(found[1]), Number(found[3])];
      if (order === "?" && one <= 12 && two <= 12 && one !== two) return undefined;
      const monthFirst = order === "mdy" || (order === "?" && two > 12);
      [year, month, day] = [Number(found[4]), monthFirst ? one : two, monthFirst ? two : one];
    }
    const made = new Date(Date.UTC(year, month - 1, day));
    return made.getUTCMonth() === month - 1 && made.getUTCDate() === day ? made.toISOString().slice(0, 10) : undefined;
  }

  function plain(value, places, least = places) {
    const sign = value < 0n ? "-" : "";
    const text = (value < 0n ? -value : value).toString().padStart(places + 1, "0");
    let fraction = text.slice(text.length - places);
    if (places === 0) return [sign + text, ""];
    while (fraction.length > least && fraction.endsWith("0")) fraction = fraction.slice(0, -1);
    return [sign + text.slice(0, text.length - places), fraction];
  }

  function write(value, places, marks, least = places) {
    const [whole, fraction] = plain(value, places, least);
    return whole.replace(/\B(?=(\d{3})+(?!\d))/g, marks.groupsBy) + (fraction ? marks.decimal + fraction : "");
  }

  // Tab-separated text as spreadsheets copy it: cells with breaks or tabs are quoted, quotes doubled.
  function parseTable(text) {
    const rows = [[]];
    let cell = "";
    let quoted = false;
    for (let at = 0; at < text.length; at += 1) {
      const mark = text[at];
      if (quoted) {
        if (mark === '"' && text[at + 1] === '"') { cell += '"'; at += 1; } else if (mark === '"') quoted = false; else cell += mark;
      } else if (mark === '"' && cell === "") quoted = true;
      else if (mark === "\t") { rows.at(-1).push(cell.trim()); cell = ""; }
      else if (mark === "\n") { rows.at(-1).push(cell.trim()); cell = ""; rows.push([]); }
      else if (mark !== "\r") cell += mark;
    }
    rows.at(-1).push(cell.trim());
    return rows.filter((cells) => cells.some(Boolean));
  }

  class Grid {
    constructor(root) {
      this.root = root;
      this.form = root.closest("form");
      this.list = root.querySelector(".grid-rows");
      this.prefix = root.dataset.prefix;
      this.marks = { decimal: root.dataset.decimal, group: root.dataset.group, groupsBy: root.dataset.groupsBy };
      this.otherDigits = JSON.parse(root.dataset.otherDigits);
      this.total = this.form?.elements.namedItem(root.dataset.total);
      this.removed = null;
      this.reveal();
      this.listen();
      for (const row of this.rows) row.dataset.source = this.field(row, "amount").value.trim() ? "amount" : "percent";
      this.recompute();
    }

    get rows() { return Array.from(this.list.querySelectorAll("[data-row]")); }
    get digits() {
      const currency = this.form?.elements.namedItem("currency")?.value || this.root.dataset.currency;
      return this.otherDigits[currency] ?? (currency === this.root.dataset.currency ? Number(this.root.dataset.digits) : 2);
    }
    field(row, name) { return row.querySelector(`[name$="-${name}"]`); }
    kind(input) { return input.name.slice(input.name.lastIndexOf("-") + 1); }
    amountOf(text) { return parseAmount(text, { ...this.marks, digits: this.digits }); }
    say(key, values = {}) { return this.root.dataset[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? ""); }

    reveal() {
      for (const button of this.root.querySelectorAll("[data-move]")) button.hidden = false;
      this.root.querySelector("[data-hint]").hidden = false;
      this.balance = this.root.querySelector("[data-balance]");
      this.balance.hidden = false;
      this.undoBar = this.root.querySelector("[data-undo]");
    }

    listen() {
      this.root.addEventListener("input", (event) => this.typed(event));
      this.root.addEventListener("focusout", (event) => this.left(event));
      this.root.addEventListener("keydown", (event) => this.pressed(event));
      this.root.addEventListener("click", (event) => this.clicked(event));
      this.root.addEventListener("paste", (event) => this.pasted(event));
      for (const field of [this.total, this.form?.elements.namedItem("currency")]) field?.addEventListener("input", () => this.recompute());
      // Only what was typed is sent; its counterpart is computed again by the server.
      this.form?.addEventListener("formdata", (event) => {
        for (const row of this.rows) {
          const other = this.field(row, row.dataset.source === "amount" ? "percent" : "amount");
          if (other.classList.contains("computed")) event.formData.set(other.name, "");
        }
      });
    }

    typed(event) {
      const row = event.target.closest("[data-row]");
      if (!row) return;
      const kind = this.kind(event.target);
      if (kind === "amount" || kind === "percent") {
        row.dataset.source = kind;
        event.target.classList.remove("computed");
      }
      this.recompute();
    }

    left(event) {
      const row = event.target.closest?.("[data-row]");
      if (!row || this.kind(event.target) !== "amount" || event.target.classList.contains("computed")) return;
      const read = this.amountOf(event.target.value);
      if (typeof read === "bigint") event.target.value = write(read, this.digits, this.marks);
    }

    pressed(event) {
      const row = event.target.closest("[data-row]");
      if (!row || !(event.target instanceof HTMLInputElement)) return;
      if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
        event.preventDefault();
        this.move(row, event.key === "ArrowUp" ? -1 : 1);
        event.target.focus();
      } else if (event.key === "Enter" && !event.isComposing) {
        event.preventDefault();
        const next = row.nextElementSibling;
        if (next && this.isBlank(next)) this.field(next, "title").focus();
        else if (!this.isBlank(row)) this.field(this.add(row), "title").focus();
      }
    }

    clicked(event) {
      const button = event.target.closest("button");
      if (!button || !this.root.contains(button)) return;
      const row = button.closest("[data-row]");
      if (button.matches("[data-add]")) { event.preventDefault(); this.field(this.add(this.rows.at(-1)), "title").focus(); }
      else if (button.matches("[data-remove]")) { event.preventDefault(); this.remove(row); }
      else if (button.matches("[data-move]")) { event.preventDefault(); this.move(row, Number(button.dataset.move)); button.focus(); }
      else if (button.closest("[data-undo]")) { event.preventDefault(); this.undo(); }
    }

    isBlank(row) { return !Array.from(row.querySelectorAll("input, textarea")).some((input) => input.value.trim() && !input.classList.contains("computed")); }

    add(after) {
      if (this.rows.length >= MOST_ROWS) return this.rows.at(-1);
      const row = this.root.querySelector("[data-row-template]").content.firstElementChild.cloneNode(true);
      row.dataset.source = "percent";
      for (const button of row.querySelectorAll("[data-move]")) button.hidden = false;
      if (after) after.after(row); else this.list.append(row);
      this.renumber();
      this.recompute();
      return row;
    }

    remove(row) {
      const place = this.rows.indexOf(row);
      const title = this.field(row, "title").value || String(place + 1);
      this.removed = this.isBlank(row) ? null : { row, place };
      const next = this.rows[place + 1] || this.rows[place - 1];
      row.remove();
      const focus = next || this.add(null);
      this.field(focus, "title").focus();
      this.renumber();
      this.recompute();
      this.undoBar.hidden = this.removed === null;
      this.undoBar.querySelector("[data-undo-text]").textContent = this.removed ? this.say("textRemoved", { title }) : "";
    }

    undo() {
      if (!this.removed) return;
      const { row, place } = this.removed;
      const before = this.rows[place];
      if (before) before.before(row); else this.list.append(row);
      this.removed = null;
      this.undoBar.hidden = true;
      this.renumber();
      this.recompute();
      this.field(row, "title").focus();
    }

    move(row, by) {
      const neighbour = this.rows[this.rows.indexOf(row) + by];
      if (!neighbour) return;
      if (by < 0) neighbour.before(row); else neighbour.after(row);
      this.renumber();
      this.recompute();
    }

    // Names carry the order to the server, so they follow the rows.
    renumber() {
      const start = new RegExp(`^${escaped(this.prefix)}-\\w+?-`);
      this.rows.forEach((row, place) => {
        for (const part of row.querySelectorAll("[id], [for], [name], [aria-describedby]")) {
          for (const name of ["id", "for", "name", "aria-describedby"]) {
            const value = part.getAttribute(name);
            if (value && start.test(value)) part.setAttribute(name, value.replace(start, `${this.prefix}-${place}-`));
          }
        }
        row.querySelector("[data-remove]").value = String(place);
      });
    }

    pasted(event) {
      const text = event.clipboardData?.getData("text/plain") ?? "";
      const row = event.target.closest("[data-row]");
      if (!row || !(event.target instanceof HTMLInputElement) || !/[\t\n]/.test(text.trim())) return;
      event.preventDefault();
      let table = parseTable(text);
      if (table.length > 1 && !table[0].some((cell) => /\d/.test(cell)) && table[1].some((cell) => /\d/.test(cell))) table = table.slice(1);
      let at = row;
      for (const [place, cells] of table.entries()) {
        if (place > 0) at = at.nextElementSibling && this.isBlank(at.nextElementSibling) ? at.nextElementSibling : this.add(at);
        this.fill(at, cells);
      }
      this.recompute();
      this.undoBar.hidden = true;
      this.balance.querySelector("[data-balance-note]").textContent = this.say("textPasted", { count: table.length });
      this.field(at, "title").focus();
    }

    // A cell is known by its looks, so the order of the columns does not matter.
    fill(row, cells) {
      const put = (name, value) => { this.field(row, name).value = value; };
      const days = ["due_on", "planned_on"];
      let title = "";
      for (const cell of cells.filter(Boolean)) {
        const day = parseDay(cell, this.root.dataset.dayOrder);
        const amount = this.amountOf(cell);
        if (/[%٪]$/u.test(cell) && typeof parsePercent(cell) === "bigint") { put("percent", cell.replace(/\s*[%٪]$/u, "")); row.dataset.source = "percent"; put("amount", ""); }
        else if (day !== undefined && days.length) put(days.shift(), day);
        else if (title && amount !== undefined && amount !== null) { put("amount", write(amount, this.digits, this.marks)); row.dataset.source = "amount"; this.field(row, "amount").classList.remove("computed"); }
        else if (!title) { title = cell.replace(/\s*\n\s*/g, " "); put("title", title); }
        else { const more = this.field(row, "criteria"); more.value = [more.value, cell].filter(Boolean).join("\n"); }
      }
    }

    recompute() {
      const total = this.total ? this.amountOf(this.total.value) : null;
      const rows = this.rows;
      const known = typeof total === "bigint" && total > 0n;
      const byPercent = rows.filter((row) => row.dataset.source === "percent" && typeof parsePercent(this.field(row, "percent").value) === "bigint");
      const weights = byPercent.map((row) => parsePercent(this.field(row, "percent").value));
      const parts = known ? cumulativeParts(total, weights) : [];
      const spare = [];
      for (const row of rows) {
        const [amount, percent] = [this.field(row, "amount"), this.field(row, "percent")];
        const place = byPercent.indexOf(row);
        if (row.dataset.source === "percent") {
          this.show(amount, place >= 0 && known ? write(parts[place], this.digits, this.marks) : "");
          if (place >= 0 && known && parts[place] !== roundHalfUp(total * weights[place], WHOLE)) spare.push(this.field(row, "title").value || `${rows.indexOf(row) + 1}`);
        } else {
          const read = this.amountOf(amount.value);
          this.show(percent, typeof read === "bigint" && known ? write(roundHalfUp(read * WHOLE, total * 100n), PERCENT_PLACES - 2, this.marks, 2) : "");
        }
        this.markUnreadable(row);
        const lines = ["criteria", "deliverables"].reduce((count, name) => count + this.field(row, name).value.split("\n").filter((line) => line.trim()).length, 0);
        const count = row.querySelector("[data-count]");
        count.hidden = lines === 0;
        count.textContent = lines ? String(lines) : "";
      }
      this.showBalance(known ? total : null, spare);
      this.root.dispatchEvent(new CustomEvent("schedule:changed", { bubbles: true }));
    }

    show(input, text) {
      if (input === document.activeElement && !input.classList.contains("computed") && input.value.trim()) return;
      input.value = text;
      input.classList.toggle("computed", text !== "");
    }

    markUnreadable(row) {
      const amount = this.field(row, "amount");
      const wrong = this.amountOf(amount.value) === undefined && amount !== document.activeElement;
      amount.title = wrong ? this.root.dataset.textUnreadable : "";
      if (wrong) amount.setAttribute("aria-invalid", "true"); else if (!amount.closest(".has-error")) amount.removeAttribute("aria-invalid");
    }

    showBalance(total, spare) {
      const [text, note, bar] = ["[data-balance-text]", "[data-balance-note]", "progress"].map((part) => this.balance.querySelector(part));
      this.balance.classList.remove("is-exact", "is-over");
      if (total === null) { text.textContent = this.root.dataset.textNoValue; note.textContent = ""; bar.value = 0; return; }
      const allocated = this.rows.reduce((sum, row) => sum + (this.amountOf(this.field(row, "amount").value) || 0n), 0n);
      const left = total - allocated;
      // Cut, not rounded: 99.999 % is not 100.00 %.
      const basis = (allocated * 10000n) / total;
      const values = { percent: write(basis, 2, this.marks), left: write(left < 0n ? -left : left, this.digits, this.marks) };
      text.textContent = this.say(left < 0n ? "textOver" : "textExact", values);
      this.balance.classList.toggle("is-exact", left === 0n);
      this.balance.classList.toggle("is-over", left < 0n);
      bar.value = Number(basis > 10000n ? 10000n : basis);
      note.textContent = spare.length ? this.say("textSpare", { titles: spare.join(", ") }) : "";
    }
  }

  for (const root of document.querySelectorAll("[data-schedule-grid]")) new Grid(root);
  return { cumulativeParts, parseAmount, parsePercent, parseDay, parseTable, roundHalfUp, write };
})();
window.ScheduleGrid = ScheduleGrid;
