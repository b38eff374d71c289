"use strict";
// What people do on the page: keys, addresses that are pasted, drafts, copies. Files are in sending.js.

const upload = document.body.dataset.upload;
const notices = document.getElementById("notice");

// A browser that keeps nothing for pages says so by throwing.
function keeping(kind) {
  try {
    Object.keys(window[kind]);
    return window[kind];
  } catch {
    return { getItem: () => null, setItem() {}, removeItem() {} };
  }
}
const [tab, browser] = ["sessionStorage", "localStorage"].map(keeping);
// What is kept in a tab is of one person: who logs in after him does not get it.
const mine = `draft:${document.body.dataset.whose ?? ""}:`;

function notice(message, next) {
  const box = document.createElement("div");
  box.className = "problem";
  box.append(Object.assign(document.createElement("strong"), { textContent: message }), ` ${next}`);
  notices.replaceChildren(box);
}

// What is said in the corner can be sent away: it may lie over what is needed next.
new MutationObserver(() => {
  if (!notices.firstElementChild || notices.querySelector(".close, form")) return;
  const close = Object.assign(document.createElement("button"), { type: "button", className: "quiet close", textContent: "Close" });
  close.addEventListener("click", () => notices.replaceChildren());
  notices.append(close);
}).observe(notices, { childList: true });

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS a browser keeps its clipboard from pages of other machines, but not from what they select.
    const box = Object.assign(document.createElement("textarea"), { value: text, className: "hide" });
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    return done;
  }
}

// What is written there, without what stands above its code.
function wordsOf(element) {
  const heads = [...element.querySelectorAll(".code > div")];
  heads.forEach((head) => { head.hidden = true; });
  const words = element.innerText;
  heads.forEach((head) => { head.hidden = false; });
  return words;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], .code button");
  if (!button) return;
  const from = button.dataset.copy ? document.querySelector(`#${CSS.escape(button.dataset.copy)} [data-text]`) : button.closest(".code").querySelector("pre");
  const done = await copied(from ? wordsOf(from) : "");
  const before = button.dataset.said ??= button.textContent;
  button.textContent = done ? "Copied" : "Select and copy by hand";
  tell(button.textContent);
  button.focus({ preventScroll: true });
  setTimeout(() => { button.textContent = before; }, 2000);
});

// Forms that change something for good ask first. One that is sent is not sent again by a second press.
const sent = new WeakSet();
document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (!question) return;
  if (!window.confirm(question)) { event.preventDefault(); return; }
  // Else the server asks, by a page.
  if (!form.elements.sure) form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "sure", value: "yes" }));
}, true);
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.hasAttribute("hx-post")) return;
  if (sent.has(form)) { event.preventDefault(); return; }
  sent.add(form);
  setTimeout(() => sent.delete(form), 4000);
  // Drafts go with what they belong to, once that is gone: the next page tells.
  const conversation = /\/(chat\/[^/]+)\/delete$/.exec(form.action);
  if (conversation) tab.setItem("leaving", `${mine}/${conversation[1]}/turns`);
  if (form.action.endsWith("/logout")) tab.setItem("leaving", "draft:");
});

function shut(menu) {
  // Who was inside goes on from where it opened.
  if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
  menu.open = false;
}

const typing = "input:not([type=checkbox], [type=radio]), textarea, select";
function press(selector) {
  const found = document.querySelector(selector);
  found?.focus();
  found?.click();
  return Boolean(found);
}
// Who speaks to his computer may want none of these: single letters are what it hears in words.
const single = document.getElementById("single-keys");
if (single) {
  single.checked = browser.getItem("single-keys") !== "off";
  single.closest("label").hidden = false;
  single.addEventListener("change", () => browser.setItem("single-keys", single.checked ? "on" : "off"));
}
const KEYS = {
  "/": () => { const box = document.getElementById("text") ?? document.getElementById("find"); box?.focus(); return Boolean(box); },
  "?": () => press(".keys > summary"),
  n: () => press("a[rel=next]"),
  p: () => press("a[rel=prev]"),
};

document.addEventListener("keydown", (event) => {
  const box = event.target;
  if (event.isComposing) return;
  if (box.id === "find-document" && event.key === "Enter") event.preventDefault();
  else if (box.id === "text" && event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    if (box.value.trim()) box.form.requestSubmit();
  } else if (box.id === "text" && event.key === "ArrowUp" && !box.value) {
    [...document.querySelectorAll(".turn .edit")].at(-1)?.click();
  } else if (event.key === "Escape") {
    document.querySelectorAll(".menu[open]").forEach(shut);
    notices.replaceChildren();
  } else if (!event.ctrlKey && !event.metaKey && !event.altKey && single?.checked && !box.matches(typing) && KEYS[event.key]?.()) event.preventDefault();
});
document.addEventListener("pointerdown", (event) => {
  document.querySelectorAll(".menu[open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
});

let asking = "";
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.id === "composer") asking = event.target.querySelector("textarea").value;
});
document.addEventListener("htmx:afterRequest", (event) => {
  // What htmx calls successful is whatever was put into the page, also a refusal.
  if (!event.detail.successful || event.detail.xhr.status >= 400) return;
  if (!notices.querySelector("form")) notices.replaceChildren();
  if (event.target.id !== "composer") return;
  // What was typed on while the question was on its way belongs to the next one.
  const box = event.target.querySelector("textarea");
  if (box.value.startsWith(asking)) box.value = box.value.slice(asking.length);
  keepDraft();
  document.querySelector(".welcome")?.remove();
});
document.addEventListener("htmx:sendError", () => notice("The console does not answer.", "See whether it runs, then try again."));

// A question that is half written outlives a file that is dropped, an error page, and a session that ends.
// What is edited is no draft: it is there.
const question = document.querySelector("#composer:not(:has([name=supersedes])) #text");
function draft() {
  return mine + document.getElementById("composer").getAttribute("action");
}
function keepDraft() {
  try {
    if (question?.value) tab.setItem(draft(), question.value);
    else if (question) tab.removeItem(draft());
  } catch {
    // The browser has no room left: the question is still in its box.
  }
}
const asked = [...document.querySelectorAll(".question p")].map((each) => each.textContent.trim());
const leaving = tab.getItem("leaving");
tab.removeItem("leaving");
// A page at the address of the form says that it failed.
const left = leaving && !/\/(logout|delete)$/.test(location.pathname);
for (const key of Object.keys(tab).filter((each) => each.startsWith("draft:"))) {
  const foreign = document.body.dataset.whose && !key.startsWith(mine);
  if (foreign || (left && key.startsWith(leaving)) || asked.includes(tab.getItem(key).trim())) tab.removeItem(key);
}
if (question && !question.value) question.value = tab.getItem(draft()) ?? "";
question?.addEventListener("input", keepDraft);

// Documents that are picked count in the one way of answering that looks at them.
document.addEventListener("change", (event) => {
  if (!event.target.matches("#choices input")) return;
  const picked = document.querySelectorAll("#choices :checked").length;
  document.getElementById("picked").textContent = picked ? `· only ${picked} document${picked === 1 ? "" : "s"}` : "";
  if (picked) document.querySelector("[name=mode][value=documents]").checked = true;
});

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
  notices.replaceChildren(form);
});
