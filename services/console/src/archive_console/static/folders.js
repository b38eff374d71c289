"use strict";
// The files of folders that are dropped. A browser gives a folder as a file that nobody can read: what is in it has to
// be asked for.

const MOST_FILES = 200;
// Of all that is looked at: a folder of a program can hold a hundred thousand files that nobody wants to ask about.
const MOST_ENTRIES = 5000;
const DEEPEST = 8;

// Has to be called while the drop is handled: afterwards the browser no longer tells.
function entriesOf(data) {
  return [...data.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
}

async function gathered(entries) {
  const found = { files: [], seen: 0, wordless: 0, deep: 0, unread: 0 };
  for (const entry of entries) await gather(entry, 0, found);
  return found;
}

const over = (found) => found.files.length > MOST_FILES || found.seen > MOST_ENTRIES;

async function gather(entry, depth, found) {
  const hidden = depth && (entry.name.startsWith(".") || /^(thumbs\.db|desktop\.ini)$/i.test(entry.name));
  if (hidden || over(found)) return;
  found.seen += 1;
  if (entry.isDirectory && depth === DEEPEST) { found.deep += 1; return; }
  try {
    if (entry.isDirectory) for (const inner of await within(entry)) await gather(inner, depth + 1, found);
    else if (depth && wordless(await fileOf(entry))) found.wordless += 1;
    else found.files.push(await fileOf(entry));
  } catch {
    found.unread += 1;
  }
}

const fileOf = (entry) => new Promise((done, failed) => { entry.file(done, failed); });
const wordless = (file) => /^(image|audio|video|font)\//.test(file.type);

// A browser gives some at a time, and none once all were given.
async function within(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((done, failed) => { reader.readEntries(done, failed); });
    if (!some.length || all.length > MOST_ENTRIES) return all;
    all.push(...some);
  }
}

async function sendFolders(entries) {
  const found = await gathered(entries);
  if (over(found)) {
    const what = found.files.length > MOST_FILES ? `${MOST_FILES} files` : `${MOST_ENTRIES} files and folders`;
    notice(`This is more than ${what}: nothing was sent.`, "Drop fewer at once, or add a whole folder by 'archive ingest FOLDER'.");
    return;
  }
  const left = [[found.wordless, "file", "without words: pictures, sound, film"], [found.deep, "folder", `deeper than ${DEEPEST} levels`], [found.unread, "file or folder", "that could not be read"]];
  const words = left.filter(([number]) => number).map(([number, what, why]) => `${number} × ${what} ${why}`).join("; ");
  if (!found.files.length) {
    notice(words ? "There is nothing to read in it." : "The folder is empty.", words ? `Left out: ${words}.` : "Drop one that holds files.");
    return;
  }
  send(found.files);
  if (words) leftOut(words, found.wordless + found.deep + found.unread);
}
