// Runs in a world of its own in every frame: pages neither see nor reach it.
// It does what a picture of a page cannot: native popups are never part of the
// picture, and a paste has to arrive as a paste.
(() => {
  if (globalThis.__latchpost) return;
  const say = (m) => globalThis.latchpostSay(JSON.stringify(m));
  const held = new Map();
  let last = 0;

  // A frame does not know where it stands in the page; what it knows is how far from the pointer its elements are.
  let pointer = null; // where it was pressed last
  const place = (el) => {
    const r = el.getBoundingClientRect(), inside = window !== top;
    const from = inside ? pointer || r : { x: 0, y: 0 };
    return { x: r.x - from.x, y: r.y - from.y, w: r.width, h: r.height, inside };
  };

  const isMenu = (el) => el instanceof HTMLSelectElement && !el.multiple && el.size <= 1 && !el.disabled;
  const picker = /^(date|time|datetime-local|month|week|color)$/;
  const isPicker = (el) => el instanceof HTMLInputElement && picker.test(el.type) && !el.disabled && !el.readOnly;

  const label = (el) =>
    (el.getAttribute("aria-label") || (el.labels && el.labels[0] && el.labels[0].innerText) || "").trim().slice(0, 80);

  function openMenu(el) {
    const id = ++last;
    held.clear();
    held.set(id, el);
    const options = [];
    let more = 0;
    for (const o of el.options) {
      if (o.hidden) continue;
      if (options.length === 500) { more++; continue; }
      const group = o.parentElement instanceof HTMLOptGroupElement ? o.parentElement : null;
      options.push({
        i: o.index, s: o.label.slice(0, 120), off: o.disabled || (group !== null && group.disabled),
        g: group ? group.label.slice(0, 80) : undefined, on: o.selected,
      });
    }
    el.focus();
    say({ t: "menu", id, label: label(el), options, more, ...place(el) });
  }

  function openPicker(el) {
    const id = ++last;
    held.clear();
    held.set(id, el);
    el.focus();
    say({ t: "picker", id, label: label(el), kind: el.type, value: el.value, min: el.min, max: el.max, step: el.step, ...place(el) });
  }

  // Only the person opens them: a page's own events would put lists and questions before people without end.
  addEventListener("mousedown", (e) => {
    if (!e.isTrusted) return;
    pointer = { x: e.clientX, y: e.clientY };
    const el = e.composedPath()[0];
    const menu = el instanceof HTMLOptionElement ? el.closest("select") : el;
    if (e.button !== 0) return;
    if (isMenu(menu)) { e.preventDefault(); openMenu(menu); }
    else if (isPicker(el)) { e.preventDefault(); openPicker(el); }
  }, true);
  addEventListener("click", (e) => {
    if (isPicker(e.composedPath()[0])) e.preventDefault();
  }, true);
  addEventListener("keydown", (e) => {
    if (!e.isTrusted) return;
    const el = e.composedPath()[0];
    const opens = e.key === " " || e.key === "Enter" || e.key === "F4" || (e.altKey && /^Arrow(Up|Down)$/.test(e.key));
    if (opens && isMenu(el)) { e.preventDefault(); openMenu(el); }
    else if (opens && e.key !== "Enter" && isPicker(el)) { e.preventDefault(); openPicker(el); }
  }, true);

  // A phone shows its keyboard, and the right one, only when it is told.
  const modes = { email: "email", tel: "tel", url: "url", number: "decimal", search: "search" };
  let due = false; // a page may move the focus thousands of times a second
  function report() {
    if (due) return;
    due = true;
    setTimeout(() => { due = false; tellFocus(); }, 20);
  }
  function tellFocus() {
    const el = focused();
    if (el instanceof HTMLIFrameElement) return;
    const field = el instanceof HTMLInputElement && !/^(button|submit|reset|checkbox|radio|file|image|range|color|hidden)$/.test(el.type);
    const on = Boolean(el) && (field || el instanceof HTMLTextAreaElement || el.isContentEditable);
    const kind = on && ((el.getAttribute("inputmode")) || modes[el.type]) || "text";
    say({ t: "focus", on, kind: /^(text|email|tel|url|numeric|decimal|search)$/.test(kind) ? kind : "text" });
  }
  addEventListener("click", report, true);
  addEventListener("focusin", report, true);

  const changed = (el) => {
    el.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    el.dispatchEvent(new Event("change", { bubbles: true }));
  };

  const focused = () => {
    let el = document.activeElement;
    while (el && el.shadowRoot && el.shadowRoot.activeElement) el = el.shadowRoot.activeElement;
    return el;
  };

  globalThis.__latchpost = {
    pick(id, i) {
      const el = held.get(id);
      held.delete(id);
      if (!el || !el.options || !el.options[i] || el.options[i].disabled) return "gone";
      if (el.selectedIndex !== i) { el.selectedIndex = i; changed(el); }
      return "ok";
    },
    fill(id, value) {
      const el = held.get(id);
      held.delete(id);
      if (!el) return "gone";
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(el, value);
      changed(el);
      return "ok";
    },
    // The page may take the paste itself (six boxes for a code do); otherwise the text is to be inserted.
    paste(text) {
      const el = focused();
      if (!document.hasFocus() || !el || el instanceof HTMLIFrameElement) return "elsewhere";
      const data = new DataTransfer();
      data.setData("text/plain", text);
      const e = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true, composed: true });
      return el.dispatchEvent(e) ? "insert" : "taken";
    },
    // What is marked, for the person's own clipboard; never out of a password field. What is to be cut comes whole or not at all.
    marked(whole) {
      const el = focused();
      if (!document.hasFocus() || el instanceof HTMLIFrameElement) return "";
      const field = el instanceof HTMLInputElement || el instanceof HTMLTextAreaElement;
      if (field && el.type === "password") return "";
      let text;
      try { text = field ? el.value.slice(el.selectionStart, el.selectionEnd) : String(getSelection()); } catch { return ""; }
      return whole && text.length > 4000 ? "" : text.slice(0, 4000);
    },
  };
})();
