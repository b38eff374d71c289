"use strict";
// The page works without this. What it adds here: answers that grow, lists that stay up to date, times in the reader's
// zone. What people do with it is in hands.js, and files on their way in sending.js.

const open = new Map();

function fragments(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

// Made once: a format costs more than a hundred uses of it.
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const second = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const earlier = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
function localTimes(root) {
  const now = new Date().toDateString();
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    time.title = whole.format(at);
    const [today, before] = "exact" in time.dataset ? [second, whole] : [hour, earlier];
    time.textContent = (at.toDateString() === now ? today : before).format(at);
  }
}

function nearBottom() {
  return window.innerHeight + window.scrollY > document.body.scrollHeight - 160;
}

function toBottom() {
  window.scrollTo({ top: document.body.scrollHeight });
}

// For people who do not see what changed.
function tell(words) {
  document.getElementById("told").textContent = words;
}

// Returns what brings the focus back to where it was, once the part it was in is another: few buttons have a name.
function focusIn(part) {
  const at = document.activeElement;
  const home = part.contains(at) ? at.closest("[id]") : null;
  if (!home) return () => {};
  const able = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]";
  const number = [...home.querySelectorAll(able)].indexOf(at);
  return () => {
    const now = document.getElementById(home.id);
    (number < 0 ? now : now?.querySelectorAll(able)[number])?.focus({ preventScroll: true });
  };
}

function keepTyped(old, part) {
  for (const field of old.querySelectorAll("input[id]:not([type=hidden])")) {
    const twin = field.value === field.defaultValue ? null : part.querySelector(`#${CSS.escape(field.id)}`);
    if (twin) twin.value = field.value;
  }
  for (const box of old.querySelectorAll("input[type=checkbox]:not([id]), input[type=radio]:not([id])")) {
    const twin = box.checked === box.defaultChecked ? null : part.querySelector(`[value="${CSS.escape(box.value)}"]`);
    if (twin) twin.checked = box.checked;
  }
}

// What changes under a pressed button loses the click: it waits until that is let go.
let pressed = false;
const held = [];
function release() {
  pressed = false;
  held.splice(0).forEach(put);
}
document.addEventListener("pointerdown", () => { pressed = true; });
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => setTimeout(release));
window.addEventListener("blur", release);

function place(html) {
  if (pressed) held.push(html);
  else put(html);
}

// Words of an answer that the reader has selected stay: what came meanwhile waits until he lets them go.
const reading = new Map();
function selected(element) {
  const chosen = document.getSelection();
  return !chosen.isCollapsed && element.closest(".turn") && chosen.containsNode(element, true);
}
document.addEventListener("selectionchange", () => {
  if (!reading.size || !document.getSelection().isCollapsed) return;
  const waiting = [...reading.values()];
  reading.clear();
  waiting.forEach(place);
});

// Whether a part is what is shown already, but for the token of its forms, which differs each time.
function same(old, part) {
  localTimes(part);
  const bare = (element) => element.outerHTML.replace(/name="form" value="[0-9a-f]+"| class=""/g, "");
  return bare(old) === bare(part);
}

// What the reader opens or closes himself stays so; the steps of an answer fold by themselves once it is complete.
document.addEventListener("click", (event) => {
  const details = event.target.closest("summary")?.parentElement;
  if (details) details.dataset.own = "";
});

// Puts each part where its id says. What the reader has opened, selected, or types into, stays as it is.
function put(html) {
  const stay = nearBottom() && document.querySelector(".talk");
  for (const part of Array.from(fragments(html).children)) {
    const old = part.id && document.getElementById(part.id);
    if (!old || (old.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) || same(old, part)) continue;
    if (selected(old)) { reading.set(part.id, part.outerHTML); continue; }
    const refocus = focusIn(old);
    keepTyped(old, part);
    const twins = part.querySelectorAll("details");
    old.querySelectorAll("details").forEach((details, index) => {
      if (!("own" in details.dataset) || !twins[index]) return;
      twins[index].open = details.open;
      twins[index].dataset.own = "";
    });
    old.replaceWith(part);
    ready(part);
    refocus();
  }
  if (stay) toBottom();
}

// The reader is told when the page stays out of date, not of every line that breaks for a moment.
let worry = 0;
function heard() {
  clearTimeout(worry);
  worry = 0;
  document.getElementById("lost").hidden = true;
}
function missed() {
  worry ||= setTimeout(() => { document.getElementById("lost").hidden = false; }, 6000);
}

function follow(element, tries = 0) {
  if (open.has(element)) return;
  const source = new EventSource(element.dataset.stream);
  open.set(element, source);
  source.addEventListener("open", () => { tries = 0; heard(); });
  source.addEventListener("answer", (event) => place(event.data));
  source.addEventListener("fragment", (event) => place(event.data));
  source.addEventListener("done", (event) => { source.close(); open.delete(element); place(event.data); tell("The answer is complete."); });
  // A browser tries again by itself where the line broke, and never where it was answered with an error.
  source.addEventListener("error", () => {
    missed();
    if (source.readyState !== EventSource.CLOSED) return;
    open.delete(element);
    refused(element, tries);
  });
}

// Why it was answered with an error, an EventSource does not tell. What was deleted stays away, who is logged out stays
// out: the reader is told. All else passes.
async function refused(element, tries) {
  const enough = new AbortController();
  const reply = await fetch(element.dataset.stream, { headers: { "HX-Request": "true" }, signal: enough.signal }).catch(() => null);
  const told = reply && reply.status >= 400 && reply.status < 500 ? await reply.text().catch(() => "") : "";
  enough.abort();
  if (!told) {
    setTimeout(() => { if (element.isConnected && !document.hidden) follow(element, tries + 1); }, 1000 * Math.min(30, 2 ** tries));
    return;
  }
  heard();
  const parts = fragments(told);
  if (parts.firstElementChild?.id) place(told);
  else document.getElementById("notice").replaceChildren(parts);
}

// A browser keeps six connections to one host: tabs that nobody looks at must not hold them.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) { ready(document); look(); return; }
  for (const source of open.values()) source.close();
  open.clear();
  heard();
});

// The page came with the documents that were known: those of this moment follow, and the way of answering that fits
// them, unless the person has chosen one. Of several looks the last counts, and a search that was typed meanwhile more.
let looks = 0;
let again = 0;
const searched = () => Boolean(document.getElementById("find-document")?.value);
async function look() {
  clearTimeout(again);
  const form = document.querySelector("[data-fresh]");
  if (!form || document.hidden || searched()) return;
  const number = ++looks;
  const data = new FormData(form);
  const known = data.getAll("document").map((id) => ["document", id]);
  if (document.querySelector("#modes[data-chosen]")) known.push(["mode", data.get("mode") ?? ""]);
  const reply = await fetch(`${form.dataset.fresh}?${new URLSearchParams(known)}`, { headers: { "HX-Request": "true" } }).catch(() => null);
  const html = reply?.ok ? await reply.text().catch(() => "") : "";
  if (number !== looks || searched()) return;
  if (html) place(html);
  else if (!reply || reply.ok || reply.status >= 500) again = setTimeout(look, 5000);
}
// Also who presses the one that is chosen for him has chosen.
document.addEventListener("click", (event) => {
  if (!event.target.matches("#modes input")) return;
  document.getElementById("modes").dataset.chosen = "";
  look();
});

function ready(root) {
  const all = (selector) => [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)];
  all("[data-stream]").forEach((element) => follow(element));
  all(".copy").forEach((button) => { button.hidden = false; });
  all(".prose pre").forEach(copiable);
  all(".prose pre, .prose .scroll").forEach(reachable);
  localTimes(root);
  if (window.htmx && root !== document) window.htmx.process(root);
}

// What is wider than its place is pushed by keys, once they reach it; also when the window gets narrow later.
function reachable(part) {
  if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
}
window.addEventListener("resize", () => document.querySelectorAll(".prose pre, .prose .scroll").forEach(reachable));

// Code that has come whole gets its language and a button of its own.
function copiable(code) {
  if (code.parentElement.matches(".code") || code.closest("[data-stream]")) return;
  const [frame, head] = [0, 0].map(() => document.createElement("div"));
  frame.className = "code";
  head.append(Object.assign(document.createElement("span"), { textContent: /language-([\w+#-]+)/.exec(code.firstElementChild?.className)?.[1] ?? "" }));
  head.append(Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "Copy code" }));
  code.replaceWith(frame);
  frame.append(head, code);
}

document.addEventListener("htmx:afterSwap", (event) => {
  for (const [element, source] of open) if (!element.isConnected) { source.close(); open.delete(element); }
  if (event.target.id === "list") { turned(event.target); return; }
  ready(document);
  if (event.target.id === "thread") toBottom();
});

// Another page of a list came. It is looked at first: who leafs on at once needs no stream of it.
function turned(list) {
  localTimes(list);
  tell(list.dataset.told ?? "");
  if (document.activeElement === document.body) list.querySelector("[tabindex], a")?.focus({ preventScroll: true });
  if (!list.dataset.stream) return;
  setTimeout(() => { if (list.isConnected) ready(list); }, list.querySelector(".waiting") ? 0 : 300);
}

// On a narrow window the list is out of the way, unless it is what was asked for.
for (const sidebar of document.querySelectorAll(".sidebar")) if (window.matchMedia("(max-width: 48rem)").matches && !/[?&](q|from)=/.test(location.search)) sidebar.open = false;
ready(document);
look();

// A talk is read from its end, or from the answer that the address names.
const turns = document.querySelectorAll(".turn");
const named = location.hash.startsWith("#turn-") && document.getElementById(location.hash.slice(1));
if (named && named !== turns[turns.length - 1]) named.scrollIntoView();
else if (turns.length && !location.hash.includes("composer")) toBottom();
document.getElementById("marked")?.scrollIntoView({ block: "center" });
