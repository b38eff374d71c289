"use strict";
// Files on their way to the library: dropped anywhere or chosen in the form, each sent by itself, so that each has its
// progress, can be cancelled, and fails alone. Without this the form sends them all at once. What folders hold is found
// in folders.js.

const corner = document.getElementById("sending");
const most = Number(document.body.dataset.most);
// A server on this machine is not sped up by more, and one on another is kept busy by two.
const AT_ONCE = 2;
const queue = [];
const going = new Set();
let arrived = 0;

function button(words, label, work) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: words, ariaLabel: label });
  made.addEventListener("click", work);
  return made;
}

function shown(file) {
  const row = document.createElement("li");
  const words = document.createElement("div");
  const bar = Object.assign(document.createElement("progress"), { max: 1, value: 0, ariaLabel: `Sending ${file.name}` });
  const said = Object.assign(document.createElement("div"), { className: "faint", textContent: "Waiting" });
  words.append(Object.assign(document.createElement("span"), { textContent: file.name }), bar, said);
  row.append(words);
  return { file, row, bar, said };
}

function send(files) {
  corner.querySelector(".over")?.remove();
  for (const file of files) {
    const item = shown(file);
    item.stop = button("Cancel", `Do not send ${file.name}`, () => cancel(item));
    item.row.append(item.stop);
    corner.querySelector("ul").append(item.row);
    queue.push(item);
  }
  corner.hidden = false;
  tell(`Sending ${files.length === 1 ? files[0].name : `${files.length} files`}.`);
  next();
}

function next() {
  while (queue.length && going.size < AT_ONCE) start(queue.shift());
  const left = going.size + queue.length;
  if (left) {
    document.getElementById("sending-what").textContent = left === 1 ? "Sending a file" : `Sending ${left} files`;
    return;
  }
  const failed = [...corner.querySelectorAll(".failed")].reduce((sum, row) => sum + Number(row.dataset.files ?? 1), 0);
  if (failed) rest(failed);
  else if (arrived) seen();
  else corner.hidden = true;
}

// The list of documents shows by itself what came, unless it shows a part of them.
function seen() {
  tell(arrived === 1 ? "The file was sent." : `${arrived} files were sent.`);
  corner.hidden = true;
  arrived = 0;
  if (location.pathname + location.search !== upload) location.assign(upload);
}

// What failed stays in sight, until it is sent again or sent away.
function rest(failed) {
  const words = failed === 1 ? "A file was not sent" : `${failed} files were not sent`;
  document.getElementById("sending-what").textContent = words;
  if (!corner.querySelector(".over")) {
    const over = Object.assign(document.createElement("p"), { className: "over" });
    // Where the list is, it shows by itself what came.
    if (location.pathname + location.search !== upload) over.append(Object.assign(document.createElement("a"), { href: upload, className: "button", textContent: "Show the documents" }), " ");
    over.append(button("Close", "Close the files that were not sent", () => {
      corner.querySelectorAll(".failed, .over").forEach((each) => each.remove());
      corner.hidden = true;
      arrived = 0;
    }));
    corner.append(over);
  }
  tell(words);
}

function start(item) {
  const { file, bar, said } = item;
  if (file.size > most) {
    fail(item, `This file is larger than the limit of ${(most / 1e6).toFixed(0)} MB. Send a smaller one, or raise CONSOLE_MAX_UPLOAD_MB.`);
    return;
  }
  const form = new FormData();
  form.append("form", document.body.dataset.form);
  form.append("file", file);
  const request = new XMLHttpRequest();
  going.add(item);
  item.request = request;
  said.textContent = "Sending";
  request.upload.addEventListener("progress", (event) => {
    bar.value = event.total ? event.loaded / event.total : 0;
    said.textContent = `${Math.floor(100 * bar.value)} %`;
  });
  request.upload.addEventListener("load", () => {
    bar.removeAttribute("value");
    said.textContent = "Keeping it";
    item.stop.hidden = true; // from here on it is a document's job that can be cancelled
  });
  request.addEventListener("load", () => {
    going.delete(item);
    if (request.status < 400) { arrived += 1; leave(item); next(); return; }
    fail(item, fragments(request.responseText));
  });
  request.addEventListener("error", () => {
    going.delete(item);
    fail(item, "It could not be sent. See whether it is a file and still there, and whether the console runs.");
  });
  request.open("POST", upload);
  request.setRequestHeader("HX-Request", "true");
  request.send(form);
}

// Who pressed its button goes on at the next one.
function leave(item) {
  const focused = item.row.contains(document.activeElement);
  const beside = item.row.nextElementSibling ?? item.row.previousElementSibling;
  item.row.remove();
  if (focused) beside?.querySelector("button")?.focus();
}

function cancel(item) {
  item.request?.abort();
  going.delete(item);
  if (queue.includes(item)) queue.splice(queue.indexOf(item), 1);
  tell(`${item.file.name} is not sent.`);
  leave(item);
  next();
}

function fail(item, why) {
  item.row.className = "failed";
  item.bar.remove();
  item.said.replaceChildren(why);
  item.stop.replaceWith(button("Try again", `Send ${item.file.name} again`, () => { item.row.remove(); send([item.file]); }));
  next();
}

// Of a folder: it stays in sight like what failed, though nothing is to be tried again.
function leftOut(words, number) {
  const row = Object.assign(document.createElement("li"), { className: "failed", textContent: `Left out of the folder: ${words}.` });
  row.dataset.files = number;
  corner.querySelector("ul").append(row);
  next();
}

// A page that is left takes with it what it has not sent yet.
window.addEventListener("beforeunload", (event) => { if (going.size) event.preventDefault(); });

document.getElementById("upload")?.addEventListener("submit", (event) => {
  event.preventDefault();
  send([...event.target.elements.file.files]);
  event.target.reset();
});

let dragged = 0;
const zone = document.querySelector(".dropzone");
const carriesFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
if (upload) {
  document.addEventListener("dragenter", (event) => { if (carriesFiles(event)) { dragged += 1; zone.hidden = false; } });
  document.addEventListener("dragleave", (event) => { if (carriesFiles(event) && --dragged <= 0) { dragged = 0; zone.hidden = true; } });
  document.addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    dragged = 0;
    zone.hidden = true;
    const entries = entriesOf(event.dataTransfer);
    if (entries.some((entry) => entry.isDirectory)) sendFolders(entries);
    else if (event.dataTransfer.files.length) send([...event.dataTransfer.files]);
  });
}
