// The page: what is chosen, dropped or heard goes to the embedder, and what it gives is shown.

import { Embedder, loadRuntime, similarity } from "./embedder.js";
import { LiveTokens } from "./live.js";
import { render } from "./markdown.js";
import { Refusal } from "./model-file.js";
import { decodeFile, Microphone, resample, SAMPLE_RATE } from "./sound.js";
import { drawStrip, units } from "./strip.js";

const BESIDE = "model.onnx";
const TICK = 200; // milliseconds between two looks at the microphone

const at = (id) => document.getElementById(id);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

let runtime;
let embedder;
let microphone;
let recordings = 0;
let clips = []; // {name, samples, embedding, tokens, milliseconds}
let turn = Promise.resolve();

attempt(start);

async function start() {
  const query = new URLSearchParams(location.search);
  const threads = Number(query.get("threads")) || undefined;
  runtime = await loadRuntime(query.get("backend") ?? undefined, threads);
  showBackend();
  at("model").disabled = false;
  at("model").addEventListener("change", () => attempt(() => openFile(at("model").files[0])));
  at("sounds").addEventListener("change", () => attempt(() => addFiles([...at("sounds").files])));
  at("microphone").addEventListener("click", () => (microphone ? (microphone = undefined) : attempt(listen)));
  at("clear").addEventListener("click", () => attempt(clear));
  acceptDrops();
  say("Choose a model file.");
  const beside = await fetch(BESIDE).catch(() => undefined);
  if (beside?.ok) await openModel(await beside.arrayBuffer(), BESIDE);
  keepForOffline(beside?.ok).catch(console.warn); // not in private windows; all that was loaded works without
}

/** Do what was asked for, after what was asked for before. */
function attempt(task) {
  turn = turn.then(() => sayingWhy(task));
}

/** Do a task; what prevents it is said in a sentence. */
async function sayingWhy(task) {
  at("error").hidden = true;
  try {
    await task();
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    at("error").textContent =
      error instanceof Refusal ? error.message : `Something unexpected happened (${error.message}): please report it.`;
    at("error").hidden = false;
  }
}

function say(text) {
  at("status").textContent = text;
}

// The model

async function openFile(file) {
  if (file) await openModel(await file.arrayBuffer(), file.name);
}

async function openModel(bytes, name) {
  say(`Opening ${name} …`);
  try {
    const begin = performance.now();
    const opened = await Embedder.open(runtime, bytes, name);
    const milliseconds = performance.now() - begin;
    await opened.hear(new Float32Array(SAMPLE_RATE)); // the first run also makes ready
    await embedder?.close();
    embedder = opened;
    showModel(name, bytes.byteLength, milliseconds);
  } finally {
    say(embedder ? "Ready: give it sounds." : "Choose a model file.");
  }
  await addClips(clips.splice(0));
}

function showModel(name, size, milliseconds) {
  const { info } = embedder;
  const hop = (1000 * info.hop) / SAMPLE_RATE;
  const facts = {
    File: `${name}, ${(size / 1e6).toFixed(2)} MB`,
    Model: `${info.name}, ${(info.parameters / 1e6).toFixed(2)} M numbers, ${info.precision}`,
    Embedding: `${info.dim} wide`,
    Tokens: embedder.hasTokens ? `${info.tokens.size} codewords, one every ${hop} ms` : "none",
    "Opened in": `${milliseconds.toFixed(0)} ms`,
    Latency: "give it sounds",
  };
  at("facts").replaceChildren(...Object.entries(facts).flatMap(([term, text]) => [make("dt", term), make("dd", text)]));
  at("facts").lastChild.id = "latency";
  at("facts").hidden = false;
  at("card").replaceChildren(...render(info.card ?? ""));
  at("card-box").hidden = !info.card;
  at("sounds").disabled = at("microphone").disabled = false;
}

function showBackend() {
  const { ort, backend, threads } = runtime;
  const running = backend === "wasm" ? `WASM, ${threads} thread${threads > 1 ? "s" : ""}` : "WebGPU";
  at("backend").textContent = `onnxruntime-web ${ort.env.versions.web}, ${running}. `;
  if (navigator.gpu) {
    const other = make("a", backend === "wasm" ? "Try WebGPU" : "Back to WASM");
    other.href = backend === "wasm" ? "?backend=webgpu" : "?";
    at("backend").append(other);
  }
}

// Clips

function acceptDrops() {
  const over = (event, is) => {
    event.preventDefault();
    at("drop").classList.toggle("over", is);
  };
  document.addEventListener("dragover", (event) => over(event, true));
  document.addEventListener("dragleave", (event) => over(event, false));
  document.addEventListener("drop", (event) => {
    over(event, false);
    const files = [...event.dataTransfer.files];
    const model = files.find((file) => /\.(onnx|ort)$/.test(file.name));
    attempt(async () => {
      await openFile(model);
      await addFiles(files.filter((file) => file !== model));
    });
  });
}

async function addFiles(files) {
  if (files.length && !embedder) throw new Refusal("There is no model yet: choose a model file first.");
  const refused = [];
  for (const file of files) {
    try {
      say(`Hearing ${file.name} …`);
      await addClips([{ name: file.name, samples: await decodeFile(file, file.name) }]);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      refused.push(error.message);
    }
  }
  at("sounds").value = ""; // so that the same file can be chosen again
  if (refused.length) throw new Refusal(refused.join(" "));
}

async function addClips(added) {
  for (const { name, samples } of added) {
    clips.push({ name, samples, ...(await embedder.hear(samples)) });
  }
  show();
}

function clear() {
  clips = [];
  say("Ready: give it sounds.");
  show();
}

function show() {
  at("clips").replaceChildren(...clips.map(clipElement));
  at("clear").hidden = !clips.length;
  at("similarity").hidden = clips.length < 2;
  if (clips.length) {
    const pace = median(clips.map((clip) => clip.milliseconds / seconds(clip)));
    at("latency").textContent = `${pace.toFixed(2)} ms per second of audio, median of ${clips.length}`;
    say(`${clips.length} clip${clips.length > 1 ? "s" : ""}.`);
  }
  showMatrix();
}

function clipElement(clip) {
  const item = make("li");
  const figures = `${seconds(clip).toFixed(2)} s of audio in ${clip.milliseconds.toFixed(1)} ms`;
  item.append(make("span", clip.name, "name"), " ", make("span", figures, "figures"));
  if (clip.tokens.length) {
    const [strip, canvas] = [make("div", "", "strip"), make("canvas")];
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Tokens of ${clip.name}: ${units(clip.tokens)}`);
    drawStrip(canvas, clip.tokens);
    strip.append(canvas);
    item.append(strip);
  }
  return item;
}

function showMatrix() {
  const [table, caption] = [at("matrix"), at("matrix").caption];
  const head = make("tr");
  head.append(make("td"), ...clips.map((_, i) => scoped("col", `${i + 1}`)));
  const rows = clips.map((clip, i) => {
    const row = make("tr");
    const cells = clips.map((other) => {
      const cosine = similarity(clip.embedding, other.embedding);
      const cell = make("td", cosine.toFixed(2));
      cell.style.setProperty("--cosine", Math.max(0, cosine));
      return cell;
    });
    row.append(scoped("row", `${i + 1} ${clip.name}`), ...cells);
    return row;
  });
  table.replaceChildren(caption, head, ...rows);
}

const seconds = (clip) => clip.samples.length / SAMPLE_RATE;

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

// The microphone

async function listen() {
  const opened = await Microphone.open();
  listening(opened);
  try {
    await follow(opened);
  } finally {
    listening(undefined);
    await opened.close();
  }
  if (opened.length) {
    const samples = await resample(opened.samples(), opened.rate);
    await addClips([{ name: `recording ${++recordings}`, samples }]);
  }
}

function listening(to) {
  microphone = to;
  at("microphone").textContent = to ? "Stop, and keep it as a clip" : "Listen to the microphone";
  at("live").hidden = !(to && embedder.hasTokens);
  at("model").disabled = at("sounds").disabled = Boolean(to);
}

/** Show the tokens of the microphone, until it is full or no longer listened to. */
async function follow(opened) {
  const live = new LiveTokens(embedder);
  const delay = (embedder.info.lookahead / SAMPLE_RATE).toFixed(2);
  at("live-note").textContent = `Pale ones may still change: a token is settled ${delay} s after it was heard.`;
  say("Listening, for at most a minute …");
  while (microphone === opened && !opened.isFull) {
    await pause(TICK);
    if (!embedder.hasTokens) continue;
    await live.update(opened);
    drawStrip(at("live-strip"), live.tokens, live.settled);
    at("live-strip").parentElement.scrollLeft = Infinity;
  }
}

// Offline

/** Keep all that the page has loaded, for the service worker to give when there is no network. */
async function keepForOffline(withModel) {
  if (!navigator.serviceWorker) return; // browsers give one only to https and to localhost
  await navigator.serviceWorker.register("offline.js");
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name.split("?")[0]);
  const own = loaded.filter((url) => url.startsWith(location.origin) && (withModel || !url.endsWith(BESIDE)));
  const cache = await caches.open("earkit");
  await cache.addAll([location.pathname, ...new Set(own)]);
  document.documentElement.dataset.offline = "ready";
}

function make(name, text = "", kind = "") {
  const element = document.createElement(name);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function scoped(scope, text) {
  const cell = make("th", text);
  cell.scope = scope;
  return cell;
}
