// The viewer's half of the live view. Pictures come in, input goes out; message.go
// has the list of what may be sent. Nothing that is typed stays here.

const $ = (id) => document.getElementById(id);
const { ticket: firstTicket, after, name, host: home } = document.body.dataset;
const canvas = $("picture");
const ink = canvas.getContext("2d", { alpha: false, desynchronized: true });
const stage = $("stage");
const keys = $("keys");
const mac = /Mac|iPhone|iPad/.test(navigator.platform);
const coarse = matchMedia("(pointer: coarse)");

let socket = null;
let ticket = firstTicket;
let phase = "starting";
let over = false; // nothing more will come
let attempts = 0;
let ready = false; // the server waits for the person
let drawn = false; // there is a picture
let hosted = null; // the view of the service that runs the browser: {tab, url, host}, empty until it comes
const opened = new Set(); // tabs that are open in that view

// --- what the person is told -------------------------------------------------

const words = {
  starting: ["Starting the browser", "It takes a second.", "Starting"],
  waiting: ["", "", "Waiting for you"],
  checking: ["Checking", `Making sure that ${name} knows you. Please wait a moment.`, "Checking"],
  connected: ["You’re signed in", "You can close this window. Your agent goes on by itself.", "Connected"],
  crashed: ["The browser stopped", "It is not your fault, and nothing was saved. Start again from the sign-in page.", "The browser stopped"],
  expired: ["This sign-in took too long", "Its browser is closed and nothing was saved. Ask your agent for a new link.", "Expired"],
  cancelled: ["Cancelled", "The browser is closed and nothing was saved. You can close this window.", "Cancelled"],
  failed: ["It did not work", "Ask your agent for a new link.", "Failed"],
  busy: ["This sign-in is open elsewhere", "Another window of yours shows it. You can take it over here; the other one will stop.", "Open elsewhere"],
  moved: ["Continued in another window", "This sign-in was taken over by another window of yours.", "Continued elsewhere"],
  lost: ["Connection lost", "Trying again. What you have entered on the site is still there.", "Reconnecting"],
  gone: ["Latchpost does not answer", "The server has stopped, the sign-in is over, or you are not signed in to Latchpost any more. Sign in again, or ask your agent for a new link.", "No connection"],
  page: ["This page crashed", "The rest of your sign-in is still there. Reload the page to go on.", "The page crashed"],
  asking: ["Opening the browser", "It runs at a service, which is asked for its view. It takes a few seconds.", "Starting"],
  hosted: ["Sign in in a new tab", "", "Waiting for you"],
  away: ["Go on in the other tab", "This page notices when you are signed in. If the site hangs there, look here: some questions of a site are shown only on this page.", "Waiting for you"],
};
const buttons = { crashed: "Start again", busy: "Continue here", page: "Reload the page", moved: "Take it back", away: "Open it again" };

function show(next, sentence) {
  phase = next;
  const [title, said, status] = words[next];
  const text = next === "hosted" ? invitation() : said;
  $("veil").dataset.phase = $("dot").dataset.phase = next;
  $("title").textContent = title;
  $("text").textContent = sentence || text;
  $("status").textContent = status;
  $("again").hidden = !buttons[next];
  $("again").textContent = buttons[next] || "";
  $("kept").hidden = true;
  const elsewhere = next === "asking" || next === "hosted" || next === "away";
  document.body.classList.toggle("elsewhere", Boolean(hosted));
  $("done").className = next === "asking" || next === "hosted" ? "quiet" : "main"; // one main button at a time
  $("again").className = next === "away" ? "quiet" : "main";
  $("own").hidden = !elsewhere;
  $("link").hidden = next !== "hosted";
  if (next === "hosted") $("link").href = hosted.url;
  else $("link").removeAttribute("href");
  const on = next === "waiting";
  for (const id of ["back", "reload", "paste", "fresh", "keyboard"]) $(id).disabled = !on;
  $("done").disabled = !on && !elsewhere;
  $("cancel").disabled = over || next === "busy" || next === "moved";
  keys.disabled = !on;
  if (!on) { closeMenu(); if (next !== "page" && !elsewhere) withdraw(next !== "checking"); }
  announce(on ? `The browser is ready at ${$("host").textContent}.` : `${title}. ${sentence || text}`);
  if (on && !coarse.matches) keys.focus({ preventScroll: true });
  if (buttons[next]) $("again").focus();
  if (next === "hosted") $("link").focus();
}

// invite shows where the person goes on while the server waits: here, or in the service's view.
function invite() {
  if (!hosted) { if (drawn) show("waiting"); else show("starting"); }
  else if (!hosted.url) show("asking");
  else show(opened.has(hosted.tab) && hosted.used ? "away" : "hosted");
}

function invitation() {
  const there = `The browser runs at ${hosted.host}, which sees what you type.`;
  if (opened.has(hosted.tab)) return `${there} It was open in another tab before; this opens it once more.`;
  if (opened.size) return `The site opened one more window, and waits for you there. ${there}`;
  return `${there} Sign in to ${name} there, and keep this page open: it notices when you are done.`;
}

function view(m) {
  if (m.on) hosted = m;
  else { hosted = null; drawn = false; if (m.s) { toast(m.s); announce(m.s); } }
  if (ready) invite();
}

function announce(text) { $("announce").textContent = text; }

let toastTimer;
function toast(text, ms = 7000) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, ms);
}

function finish(m) {
  over = true;
  show(m.phase, m.s);
  if (m.phase === "connected") {
    const r = m.result;
    if (r && r.account) $("title").textContent = `You’re signed in as ${r.account}`;
    if (r) {
      const kept = `Kept for ${(r.kept || []).join(", ")}: ${r.cookies} ${r.cookies === 1 ? "cookie" : "cookies"} and the site’s storage.`;
      const left = r.dropped ? ` Left behind: ${r.dropped} of other sites.` : "";
      const bound = r.bound ? " The site ties this session to this browser, so it may end early." : "";
      $("kept").textContent = kept + left + bound;
      $("kept").hidden = false;
    }
  }
  document.title = `${$("title").textContent} · Latchpost`; // seen from another tab
  if (after && m.phase !== "expired" && m.phase !== "failed") setTimeout(() => location.replace(after), 1800);
}

// --- the connection ----------------------------------------------------------

const send = (m) => { if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(m)); };
const order = (k) => send({ t: "do", k });

function connect(take = false) {
  const ws = new WebSocket(`${location.origin.replace(/^http/, "ws")}${location.pathname}/ws`);
  ws.binaryType = "arraybuffer";
  socket = ws;
  ws.onopen = () => { const [w, h] = room(); ws.send(JSON.stringify({ t: "hello", ticket, w, h, take })); };
  ws.onmessage = (e) => { if (ws === socket) typeof e.data === "string" ? receive(JSON.parse(e.data)) : picture(e.data); };
  ws.onclose = () => { if (ws === socket && !over && phase !== "busy" && phase !== "moved") reconnect(); };
}

async function reconnect() {
  socket = null;
  if (phase !== "lost") show("lost");
  if (++attempts > 8) { over = true; return show("gone"); }
  await new Promise((r) => setTimeout(r, Math.min(4000, 250 * 2 ** attempts)));
  try {
    // The page itself tells whether the sign-in is still there, and brings a new ticket.
    const answer = await fetch(location.href, { cache: "no-store" });
    if (answer.status === 404 || answer.status === 429) { over = true; return show("gone"); }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    ticket = page.body.dataset.ticket;
  } catch {
    return reconnect();
  }
  connect();
}

function receive(m) {
  switch (m.t) {
    case "welcome": attempts = 0; hosted = null; ticket = m.ticket; break;
    case "busy": ticket = m.ticket; show("busy"); break;
    case "moved": show("moved"); break;
    case "state": state(m); break;
    case "page": page(m); break;
    case "note": toast(m.s); announce(m.s); break;
    case "idle": idle(m.seconds); break;
    case "dialog": dialog(m); break;
    case "login": login(m); break;
    case "menu": menu(m); break;
    case "picker": picker(m); break;
    case "focus": focused(m); break;
    case "copied": copied(m.s); break;
    case "hosted": view(m); break;
  }
}

function state(m) {
  if (["connected", "expired", "cancelled", "failed"].includes(m.phase)) return finish(m);
  ready = m.phase === "waiting";
  if (ready && hosted) return invite();
  if (ready && !drawn) return; // the first picture lifts the veil
  if (m.phase === "starting" || m.phase === "crashed") drawn = false;
  show(m.phase, m.s);
}

function idle(seconds) {
  if (seconds > 0) toast(`Still there? Without a sign from you this sign-in ends in ${seconds === 1 ? "a second" : `${seconds} seconds`}.`, seconds * 1000);
  else $("toast").hidden = true;
}

function page(m) {
  const a = m.address;
  $("host").textContent = a.host || (a.scheme ? `${a.scheme}: page` : "");
  $("path").textContent = a.path === "/" ? "" : a.path;
  $("address").classList.toggle("open", !a.secure);
  $("insecure").hidden = a.secure || !a.host;
  const there = a.host ? `You are on ${a.host}, which does not belong to ${home}. What you type goes there, and nothing of it is kept.`
    : `This page has no address of its own, so nobody can tell whether it belongs to ${home}. Type nothing secret here.`;
  const unproven = "The certificate of the site that was to open here is not valid, so anybody could be behind it. It was not opened.";
  const text = m.warned ? unproven : a.away ? there : "";
  if ($("away").textContent !== text) $("away").textContent = text;
  $("away").hidden = !text;
  $("tabs").hidden = m.tabs.length < 2;
  $("tabs").replaceChildren(...m.tabs.map((t) => {
    const span = document.createElement("span");
    span.className = t.on ? "on" : "";
    const open = button(t.s, () => send({ t: "tab", k: "show", id: t.id }));
    open.setAttribute("role", "tab");
    open.setAttribute("aria-selected", t.on);
    const shut = button("×", () => send({ t: "tab", k: "close", id: t.id }));
    shut.className = "shut";
    shut.setAttribute("aria-label", `Close ${t.s}`);
    span.append(open, shut);
    return span;
  }));
  if (m.crashed && ["waiting", "starting", "hosted", "away"].includes(phase)) show("page");
  else if (!m.crashed && phase === "page") invite();
}

function button(text, fn) {
  const b = document.createElement("button");
  b.type = "button";
  b.textContent = text;
  b.onclick = fn;
  return b;
}

// --- pictures ----------------------------------------------------------------

let newest = 0;
async function picture(data) {
  const head = new DataView(data);
  const n = head.getUint32(0), w = head.getUint16(4), h = head.getUint16(6);
  try {
    const bitmap = await createImageBitmap(new Blob([new Uint8Array(data, 8)], { type: "image/jpeg" }));
    if (n > newest || n === 1) {
      newest = n;
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) { canvas.width = bitmap.width; canvas.height = bitmap.height; }
      ink.drawImage(bitmap, 0, 0);
      canvas.dataset.w = w;
      canvas.dataset.h = h;
      canvas.dataset.frame = n;
    }
    bitmap.close();
  } finally {
    send({ t: "ack", n });
  }
  drawn = true;
  if (ready && !hosted && (phase === "starting" || phase === "lost")) show("waiting");
}

const clamp = (v, low, high) => Math.min(high, Math.max(low, v));
// Bars of ours that come and go shrink the picture, not the page: what the person is about to click must not jump.
const tall = (...all) => Math.round(all.reduce((sum, e) => sum + e.getBoundingClientRect().height, 0));
const room = () => [clamp(stage.clientWidth, 200, 4096), clamp(tall(stage, $("tabs"), $("away")), 200, 4096)];

let told = [0, 0], sizing;
new ResizeObserver(() => {
  clearTimeout(sizing);
  sizing = setTimeout(() => {
    const [w, h] = room();
    // A phone's keyboard takes height; the page must not jump for it.
    if (w === told[0] && (h === told[1] || coarse.matches)) return;
    told = [w, h];
    send({ t: "size", w, h });
  }, 150);
}).observe(stage);

// --- pointer -----------------------------------------------------------------

function point(e) {
  const r = canvas.getBoundingClientRect();
  const w = Number(canvas.dataset.w) || canvas.width, h = Number(canvas.dataset.h) || canvas.height;
  return { x: clamp((e.clientX - r.left) * w / r.width, 0, w), y: clamp((e.clientY - r.top) * h / r.height, 0, h) };
}

const names = ["left", "none", "right"]; // over there the middle one would paste
const mods = (e) => (e.altKey ? 1 : 0) | (e.ctrlKey || (mac && e.metaKey) ? 2 : 0) | (!mac && e.metaKey ? 4 : 0) | (e.shiftKey ? 8 : 0);

let move = null, wheel = null, scheduled = false;
function later() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(flush);
}
function flush() {
  scheduled = false;
  if (move) send(move);
  if (wheel) send(wheel);
  move = wheel = null;
}

let click = { n: 0, at: 0, x: 0, y: 0, b: -1 };
let spot = { x: 0, y: 0 }; // of the page, where the last click was
function count(e) {
  spot = point(e);
  const near = e.timeStamp - click.at < 500 && Math.hypot(e.clientX - click.x, e.clientY - click.y) < 6 && click.b === e.button;
  click = { n: near ? click.n % 3 + 1 : 1, at: e.timeStamp, x: e.clientX, y: e.clientY, b: e.button };
  return click.n;
}

let touch = null;
let pressed = -1; // the button that is down over there
canvas.addEventListener("pointerdown", (e) => {
  if (phase !== "waiting") return;
  e.preventDefault();
  closeMenu();
  if (e.pointerType === "touch") { touch = { id: e.pointerId, x: e.clientX, y: e.clientY, dragged: false }; return; }
  keys.focus({ preventScroll: true });
  canvas.setPointerCapture(e.pointerId);
  flush();
  send({ t: "mouse", k: "move", ...point(e), m: mods(e) });
  send({ t: "mouse", k: "down", ...point(e), b: names[e.button] || "none", bs: e.buttons & 31, c: count(e), m: mods(e) });
  pressed = e.button;
});
canvas.addEventListener("pointermove", (e) => {
  if (touch && e.pointerId === touch.id) {
    const dx = touch.x - e.clientX, dy = touch.y - e.clientY;
    if (!touch.dragged && Math.hypot(dx, dy) < 8) return;
    Object.assign(touch, { dragged: true, x: e.clientX, y: e.clientY });
    scroll(e, dx, dy);
    return;
  }
  if (e.pointerType === "touch" || phase !== "waiting") return;
  move = { t: "mouse", k: "move", ...point(e), b: e.buttons & 1 ? "left" : "none", bs: e.buttons & 31, m: mods(e) };
  later();
});
canvas.addEventListener("pointerup", (e) => {
  if (touch && e.pointerId === touch.id) {
    const tap = !touch.dragged;
    touch = null;
    if (!tap) return;
    keys.focus({ preventScroll: true }); // only inside the gesture does a phone open its keyboard
    const p = point(e), c = count(e);
    send({ t: "mouse", k: "move", ...p });
    send({ t: "mouse", k: "down", ...p, b: "left", bs: 1, c });
    send({ t: "mouse", k: "up", ...p, b: "left", c });
    return;
  }
  release(e);
});
// In whatever phase: a button that is never let go drags along what it was pressed on.
function release(e) {
  if (pressed < 0) return;
  flush();
  send({ t: "mouse", k: "up", ...point(e), b: names[pressed] || "none", bs: e.buttons & 31, c: click.n, m: mods(e) });
  pressed = -1;
}
canvas.addEventListener("pointercancel", (e) => { touch = null; release(e); });
canvas.addEventListener("contextmenu", (e) => e.preventDefault());
canvas.addEventListener("wheel", (e) => {
  e.preventDefault();
  const unit = e.deltaMode === 1 ? 40 : e.deltaMode === 2 ? 600 : 1;
  scroll(e, e.deltaX * unit, e.deltaY * unit);
}, { passive: false });

function scroll(e, dx, dy) {
  if (phase !== "waiting") return;
  wheel = { t: "mouse", k: "wheel", ...point(e), dx: clamp((wheel?.dx || 0) + dx, -2000, 2000), dy: clamp((wheel?.dy || 0) + dy, -2000, 2000), m: mods(e) };
  later();
}

// --- keyboard, input methods, clipboard --------------------------------------

// Two characters that are never sent keep Backspace alive on phones, whose
// keyboards report nothing for an empty field.
const filler = "\u200b\u200b";
function rest() { keys.value = filler; keys.setSelectionRange(1, 1); }
rest();

const press = (e, k) => send({ t: "key", k, key: e.key.slice(0, 32), code: e.code.slice(0, 32), kc: e.keyCode & 255, m: mods(e), l: e.location, r: e.repeat || undefined });
const special = new Set(["Enter", "Tab", "Backspace", "Delete", "Escape", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown", "Shift", "F2", "F4"]);

keys.addEventListener("keydown", (e) => {
  if (e.isComposing || e.keyCode === 229 || e.key === "Process" || e.key === "Dead") return;
  if (e.key === "F6") { e.preventDefault(); $("done").focus(); return announce("Left the picture."); }
  const command = mac ? e.metaKey : e.ctrlKey;
  const graph = e.getModifierState("AltGraph") || (mac && e.altKey && !e.metaKey && !e.ctrlKey);
  if (e.key.length === 1 && (graph || (!command && !e.ctrlKey && !e.metaKey && !e.altKey))) {
    e.preventDefault();
    return send({ t: "key", k: "down", key: e.key, code: e.code, kc: e.keyCode & 255, s: e.key, m: e.shiftKey ? 8 : 0, l: e.location, r: e.repeat || undefined });
  }
  if (command && !e.altKey) {
    const k = e.key.toLowerCase();
    if (k === "c" || k === "x") { e.preventDefault(); order(k === "x" ? "cut" : "copy"); return; }
    if (k === "v") return; // becomes a paste event
    if (["a", "z", "y"].includes(k)) { e.preventDefault(); return press(e, "down"); }
  }
  if (!special.has(e.key) || (e.shiftKey && e.key === "Delete")) return; // the person's own browser has it
  e.preventDefault();
  if (e.key === "Enter") return send({ t: "key", k: "down", key: "Enter", code: e.code, kc: 13, s: "\r", m: mods(e), l: e.location });
  press(e, "down");
});
keys.addEventListener("keyup", (e) => {
  if (e.isComposing || e.keyCode === 229) return;
  const command = e.ctrlKey || e.metaKey || e.key === "Control" || e.key === "Meta";
  if (!command && (e.key.length === 1 || special.has(e.key))) press(e, "up");
});

function stroke(key, kc) {
  send({ t: "key", k: "down", key, code: key, kc, s: key === "Enter" ? "\r" : undefined });
  send({ t: "key", k: "up", key, code: key, kc });
}

keys.addEventListener("compositionupdate", (e) => send({ t: "text", k: "compose", s: e.data }));
keys.addEventListener("compositionend", (e) => { send({ t: "text", k: e.data ? "insert" : "compose", s: e.data }); rest(); });
keys.addEventListener("beforeinput", (e) => {
  if (e.isComposing || e.inputType === "insertCompositionText" || e.inputType === "insertFromPaste") return;
  e.preventDefault();
  if (e.inputType === "deleteContentBackward") stroke("Backspace", 8);
  else if (e.inputType === "insertLineBreak") stroke("Enter", 13);
  else if (e.data) send({ t: "text", k: "insert", s: e.data });
});
keys.addEventListener("input", rest);
keys.addEventListener("paste", (e) => {
  e.preventDefault();
  paste(e.clipboardData.getData("text/plain"));
});

function paste(s) {
  if (!s) return;
  if (new TextEncoder().encode(s).length > 8000) return toast("That is too long to paste here.");
  send({ t: "text", k: "paste", s });
}

async function copied(s) {
  try { await navigator.clipboard.writeText(s); toast("Copied.", 1500); } catch { toast("Your browser did not let the text be copied."); }
}

// What is focused over there decides which keyboard a phone shows, if any.
function focused(m) {
  keys.inputMode = m.on ? m.kind || "text" : "none";
  if (coarse.matches && !m.on && document.activeElement === keys) keys.blur();
}

// --- what the browser itself would draw --------------------------------------

let openMenu = 0;
function closeMenu() {
  if (!openMenu) return;
  send({ t: "menu", id: openMenu, ok: false });
  openMenu = 0;
  $("menu").hidden = true;
}

function menu(m) {
  const box = $("menu");
  const r = canvas.getBoundingClientRect(), s = stage.getBoundingClientRect();
  const scale = r.width / (Number(canvas.dataset.w) || canvas.width);
  openMenu = m.id;
  box.setAttribute("aria-label", m.label || "Choose");
  let group;
  box.replaceChildren(...(m.options || []).flatMap((o) => {
    const out = [];
    if (o.g !== group) {
      group = o.g;
      if (group) { const g = document.createElement("div"); g.className = "group"; g.textContent = group; out.push(g); }
    }
    const b = button(o.s || "\u00a0", () => {
      send({ t: "menu", id: m.id, ok: true, i: o.i });
      openMenu = 0;
      box.hidden = true;
      keys.focus({ preventScroll: true });
    });
    b.setAttribute("role", "option");
    b.setAttribute("aria-selected", Boolean(o.on));
    b.disabled = Boolean(o.off);
    return [...out, b];
  }));
  const more = m.more ? `${m.more} more are not shown. To choose one of them, close this list and type how it begins.` : "";
  if (more) {
    const p = document.createElement("p");
    p.className = "group";
    p.textContent = more;
    box.append(p);
  }
  box.hidden = false;
  const x = m.x + (m.inside ? spot.x : 0), y = m.y + (m.inside ? spot.y : 0);
  const left = r.left - s.left + x * scale, under = r.top - s.top + (y + m.h) * scale + 2, above = r.top - s.top + y * scale - 2;
  box.style.width = `${Math.max(140, m.w * scale)}px`;
  box.style.left = `${clamp(left, 4, Math.max(4, s.width - box.offsetWidth - 4))}px`;
  box.style.top = `${under + box.offsetHeight > s.height && above > box.offsetHeight ? above - box.offsetHeight : Math.min(under, Math.max(4, s.height - box.offsetHeight - 4))}px`;
  (box.querySelector('[aria-selected="true"]:not(:disabled)') || box.querySelector("button:not(:disabled)"))?.focus();
  announce(`${m.label || "A list"}: ${(m.options || []).length} choices. ${more}`);
}

$("menu").addEventListener("keydown", (e) => {
  const all = [...$("menu").querySelectorAll("button:not(:disabled)")];
  const i = all.indexOf(document.activeElement);
  const go = (n) => { e.preventDefault(); all[clamp(n, 0, all.length - 1)]?.focus(); };
  if (e.key === "ArrowDown") go(i + 1);
  else if (e.key === "ArrowUp") go(i - 1);
  else if (e.key === "Home") go(0);
  else if (e.key === "End") go(all.length - 1);
  else if (e.key === "Escape" || e.key === "Tab") { e.preventDefault(); closeMenu(); keys.focus({ preventScroll: true }); }
  else if (e.key.length === 1) {
    const hit = [...all.slice(i + 1), ...all.slice(0, i + 1)].find((b) => b.textContent.toLowerCase().startsWith(e.key.toLowerCase()));
    hit?.focus();
  }
});

// ask opens our one dialog. fields are [label, type, value, attributes]; site names the question among those of the
// site, and is empty for our own. A question of the site waits while another one is open, and takes the place of
// the one before of its name. A site that asks on and on cannot keep people from leaving.
let question = null; // what is asked now: {then, inputs, site}
let held = []; // questions of the site that wait
let asked = 0; // questions of the site so far

function ask({ title, text, fields = [], yes = "OK", no = "Cancel", site = "" }, then) {
  const d = $("ask");
  if (site) held = held.filter(([q]) => q.site !== site);
  if (site && question && question.site !== site) return void held.push([arguments[0], then]);
  if (question) { drop(); answered(); }
  if (site) asked++;
  $("askLeave").hidden = !site || asked < 3;
  $("askTitle").textContent = title;
  $("askText").textContent = text || "";
  $("askText").hidden = !text;
  $("askYes").textContent = yes;
  $("askNo").textContent = no || "";
  $("askNo").hidden = !no;
  const inputs = fields.map(([label, type, value, more]) => {
    const l = document.createElement("label"), f = document.createElement("input");
    l.textContent = label;
    f.type = type;
    if (value) f.value = value;
    for (const k in more || {}) if (more[k]) f.setAttribute(k, more[k]);
    l.append(f);
    return [l, f];
  });
  $("askFields").replaceChildren(...inputs.map(([l]) => l));
  d.returnValue = "no";
  question = { then, inputs, site };
  d.showModal();
  (inputs[0]?.[1] || $("askYes")).focus();
}

function answered() {
  const { then, inputs } = question;
  const values = inputs.map(([, f]) => f.value);
  question = null;
  $("askFields").replaceChildren();
  then($("ask").returnValue === "yes", ...values);
}

// drop closes the question that is open. Only our own is answered by that: the site's is the person's to answer.
function drop() {
  if (!$("ask").open) return;
  if (question.site) question.then = () => {};
  $("ask").close("no");
}

// withdraw drops a question of ours, and those of the site where nothing asks them any more; whoever does sends them again.
function withdraw(sites) {
  if (sites) held = [];
  if (question && (sites || !question.site)) drop();
}

// The event comes later than the closing: by then the next question may be open.
$("ask").onclose = () => {
  if ($("ask").open || !question) return;
  answered();
  if (held.length) ask(...held.shift());
  else if (!coarse.matches) keys.focus({ preventScroll: true });
};
$("askLeave").onclick = () => order("cancel");

function dialog(m) {
  const fields = m.kind === "prompt" ? [["Your answer", "text", m.value]] : [];
  ask({ title: `${m.host || "The page"} says`, text: m.s, fields, no: m.kind === "alert" ? "" : "Cancel", site: `dialog ${m.id}` },
    (ok, s) => send({ t: "dialog", id: m.id, ok: ok || m.kind === "alert", s: s || "" }));
}

function login(m) {
  ask({
    title: `${m.host} asks for a name and password`, yes: "Sign in", site: "login",
    fields: [["Name", "text", "", { autocomplete: "off" }], ["Password", "password", "", { autocomplete: "off" }]],
  }, (ok, user, s) => send({ t: "login", id: m.id, ok, user: user || "", s: s || "" }));
}

function picker(m) {
  ask({ title: m.label || "Choose a value", fields: [[m.kind === "color" ? "Colour" : "Value", m.kind, m.value, { min: m.min, max: m.max, step: m.step }]], yes: "Choose", site: "picker" },
    (ok, s) => send({ t: "picker", id: m.id, ok, s: s || "" }));
}

// --- buttons -----------------------------------------------------------------

for (const k of ["back", "reload", "fresh", "done"]) $(k).onclick = () => { order(k); if (k !== "done" && !coarse.matches) keys.focus({ preventScroll: true }); };
$("done").addEventListener("click", () => announce("Checking whether you are signed in."));
$("cancel").onclick = () => ask({ title: "Cancel this sign-in?", text: "The browser is closed and nothing is saved.", yes: "Cancel it", no: "Go on" }, (ok) => ok && order("cancel"));
$("paste").onclick = () => ask({ title: "Paste a password or code", text: "It goes to the field that is active on the site.", fields: [["Text", "password", "", { autocomplete: "off" }]], yes: "Paste" }, (ok, s) => ok && paste(s));
$("keyboard").onclick = () => { keys.inputMode = "text"; keys.blur(); keys.focus({ preventScroll: true }); };
// A link may be good for one visit only, so it is not offered twice.
$("link").addEventListener("click", () => { opened.add(hosted.tab); hosted.used = true; setTimeout(invite); });
$("own").onclick = () => order("own");
$("again").onclick = () => {
  if (phase === "busy" || phase === "moved") { const was = phase; phase = "starting"; drawn = false; was === "busy" ? connect(true) : takeBack(); }
  else order({ page: "reload", away: "link" }[phase] || "restart");
};

async function takeBack() {
  const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null);
  if (!answer || !answer.ok) { over = true; return show("gone"); }
  ticket = new DOMParser().parseFromString(await answer.text(), "text/html").body.dataset.ticket;
  connect(true);
}

show("starting");
connect();
