"use strict";
// The page works without this. What it adds: answers that grow, lists that stay up to date, files that can be dropped
// anywhere, times in the reader's zone, Enter to send.

const open = new Map();
const upload = document.body.dataset.upload;

function fragments(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    time.title = at.toLocaleString();
    const today = at.toDateString() === new Date().toDateString();
    time.textContent = today ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
      : at.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
  }
}

function nearBottom() {
  return window.innerHeight + window.scrollY > document.body.scrollHeight - 160;
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

// Whether a part is what is shown already, but for the token of its forms, which differs each time.
function same(old, part) {
  localTimes(part);
  const bare = (element) => element.outerHTML.replace(/name="form" value="[0-9a-f]+"| class=""/g, "");
  return bare(old) === bare(part);
}

// Puts each part where its id says. What the reader has opened, or types into, stays as it is.
function put(html) {
  const stay = nearBottom() && document.querySelector(".talk");
  for (const part of Array.from(fragments(html).children)) {
    const old = part.id && document.getElementById(part.id);
    if (!old || (old.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) || same(old, part)) continue;
    const refocus = focusIn(old);
    keepTyped(old, part);
    const twins = part.querySelectorAll("details");
    old.querySelectorAll("details").forEach((details, index) => {
      if (details.open && twins[index]) twins[index].open = true;
    });
    old.replaceWith(part);
    ready(part);
    refocus();
  }
  if (stay) window.scrollTo({ top: document.body.scrollHeight });
}

function follow(element) {
  const address = element.dataset.stream;
  if (open.has(element)) return;
  const source = new EventSource(address);
  open.set(element, source);
  source.addEventListener("answer", (event) => place(event.data));
  source.addEventListener("fragment", (event) => place(event.data));
  source.addEventListener("done", (event) => { source.close(); open.delete(element); place(event.data); tell("The answer is complete."); });
}

// A browser keeps six connections to one host: tabs that nobody looks at must not hold them.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) { ready(document); return; }
  for (const source of open.values()) source.close();
  open.clear();
});

function ready(root) {
  const all = (selector) => [...(root.matches?.(selector) ? [root] : []), ...root.querySelectorAll(selector)];
  all("[data-stream]").forEach(follow);
  all(".copy").forEach((button) => { button.hidden = false; });
  localTimes(root);
  if (window.htmx && root !== document) window.htmx.process(root);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.querySelector(`#${CSS.escape(button.dataset.copy)} [data-text]`)?.innerText ?? "";
  try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "Select and copy by hand"; }
});

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
}, true);

document.addEventListener("keydown", (event) => {
  const box = event.target;
  if (box.id === "find-document" && event.key === "Enter") event.preventDefault();
  else if (box.id === "text" && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (box.value.trim()) box.form.requestSubmit();
  } else if (event.key === "/" && !event.target.matches("input, textarea, select")) {
    event.preventDefault();
    document.getElementById("text")?.focus();
  } else if (event.key === "Escape") {
    // Who was inside goes on from where it opened.
    document.querySelectorAll(".menu[open]").forEach((menu) => {
      if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
      menu.open = false;
    });
  }
});

document.addEventListener("htmx:afterRequest", (event) => {
  if (event.target.id === "composer" && event.detail.successful) {
    event.target.querySelector("textarea").value = "";
    document.querySelector(".welcome")?.remove();
  }
});
document.addEventListener("htmx:afterSwap", (event) => {
  for (const [element, source] of open) if (!element.isConnected) { source.close(); open.delete(element); }
  if (event.target.id === "list") { turned(event.target); return; }
  ready(document);
  if (event.target.id === "thread") window.scrollTo({ top: document.body.scrollHeight });
});

// Another page of a list came. It is looked at first: who leafs on at once needs no stream of it.
function turned(list) {
  localTimes(list);
  tell(list.dataset.told ?? "");
  if (document.activeElement === document.body) list.querySelector("[tabindex], a")?.focus({ preventScroll: true });
  if (!list.dataset.stream) return;
  setTimeout(() => { if (list.isConnected) ready(list); }, list.querySelector(".waiting") ? 0 : 300);
}

// Documents that are picked count in the one way of answering that looks at them.
document.addEventListener("change", (event) => {
  if (!event.target.matches("#choices input")) return;
  const picked = document.querySelectorAll("#choices :checked").length;
  document.getElementById("picked").textContent = picked ? `· only ${picked} document${picked === 1 ? "" : "s"}` : "";
  if (picked) document.querySelector("[name=mode][value=documents]").checked = true;
});
document.addEventListener("htmx:sendError", () => notice("The console does not answer.", "See whether it runs, then try again."));

function notice(message, next) {
  const box = document.createElement("div");
  box.className = "problem";
  box.append(Object.assign(document.createElement("strong"), { textContent: message }), ` ${next}`);
  document.getElementById("notice").replaceChildren(box);
}

// A lone address that is pasted may be meant as a document: the person is asked, wherever the cursor stands.
document.addEventListener("paste", (event) => {
  const text = event.clipboardData?.getData("text/plain").trim() ?? "";
  if (!upload || !/^https?:\/\/\S+$/i.test(text) || event.target.closest("form[action='/documents/address'], form[action='/system/engines']")) return;
  const form = Object.assign(document.createElement("form"), { method: "post", action: "/documents/address", className: "offer" });
  for (const [name, value] of [["form", document.body.dataset.form], ["url", text]]) form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  form.append(Object.assign(document.createElement("p"), { textContent: text }), Object.assign(document.createElement("button"), { className: "primary", textContent: "Add it to your documents" }));
  const no = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "No" });
  no.addEventListener("click", () => form.remove());
  form.append(" ", no);
  document.getElementById("notice").replaceChildren(form);
});

let dragged = 0;
const zone = document.querySelector(".dropzone");
const carriesFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
if (upload) {
  document.addEventListener("dragenter", (event) => { if (carriesFiles(event)) { dragged += 1; zone.hidden = false; } });
  document.addEventListener("dragleave", (event) => { if (carriesFiles(event) && --dragged <= 0) { dragged = 0; zone.hidden = true; } });
  document.addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    dragged = 0;
    zone.hidden = true;
    const form = new FormData();
    form.append("form", document.body.dataset.form);
    for (const file of event.dataTransfer.files) form.append("file", file);
    const reply = await fetch(upload, { method: "POST", body: form, headers: { "HX-Request": "true" } }).catch(() => null);
    if (reply && reply.ok) window.location.assign("/documents");
    else if (reply) document.getElementById("notice").replaceChildren(fragments(await reply.text()));
    else notice("The files could not be sent.", "See whether the console runs, then drop them again.");
  });
}

for (const sidebar of document.querySelectorAll(".sidebar")) if (window.matchMedia("(max-width: 48rem)").matches) sidebar.open = false;
ready(document);
if (document.querySelector(".turn") && !location.hash.includes("composer")) window.scrollTo({ top: document.body.scrollHeight });
document.getElementById("marked")?.scrollIntoView({ block: "center" });
