// The embedder: clips in, vectors out, of one model file, by onnxruntime-web on this device.

import { describe, Refusal } from "./model-file.js";

const BUILDS = {
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded"],
  webgpu: ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"],
};

/**
 * Load onnxruntime, once for a page and all of it: afterwards no network is needed.
 * backend: "wasm" or "webgpu". threads: of WASM. More than one wait for each other in loops, which costs more than
 * it gains where the processor has other work, and need a page that is cross-origin isolated.
 */
export async function loadRuntime(backend = "wasm", threads = 1) {
  if (!Object.hasOwn(BUILDS, backend)) {
    throw new Refusal(`There is no backend ${backend}: take ?backend=wasm or ?backend=webgpu.`);
  }
  if (backend === "webgpu" && !(await navigator.gpu?.requestAdapter())) {
    throw new Refusal("This browser has no WebGPU here: open the page without ?backend=webgpu.");
  }
  if (threads > 1 && !globalThis.crossOriginIsolated) {
    throw new Refusal("This page has one thread, for its host does not isolate it: see docs/web.md.");
  }
  const [script, build] = BUILDS[backend].map((name) => new URL(`vendor/${name}`, import.meta.url).href);
  try {
    const [ort, binary] = await Promise.all([import(script), fetchBytes(`${build}.wasm`), import(`${build}.mjs`)]);
    ort.env.wasm.wasmBinary = binary;
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = "error";
    return { ort, backend, threads };
  } catch (error) {
    throw new Refusal(
      `onnxruntime-web is not in vendor/ (${error.message}): python -m earkit.benchmarks.web_page fetches it.`,
    );
  }
}

async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return response.arrayBuffer();
}

/** A model file, opened. */
export class Embedder {
  #ort;
  #session;
  #turn = Promise.resolve();

  constructor(ort, session, info) {
    this.#ort = ort;
    this.#session = session;
    /** The description of the file; see docs/model-file.md. */
    this.info = info;
  }

  /** runtime: of `loadRuntime`. bytes: ArrayBuffer of an .onnx file. name: what errors call it. */
  static async open(runtime, bytes, name) {
    const info = describe(new Uint8Array(bytes), name);
    try {
      const session = await runtime.ort.InferenceSession.create(bytes, {
        executionProviders: [runtime.backend],
        // Clips are of varying length: plans and arena would keep memory for each, for good.
        enableMemPattern: false,
        enableCpuMemArena: false,
      });
      return new Embedder(runtime.ort, session, info);
    } catch (error) {
      throw new Refusal(`${name} cannot be opened by this browser (${error.message}): export it again with --web.`);
    }
  }

  /** Whether the file has tokens. */
  get hasTokens() {
    return this.info.outputs.includes("tokens");
  }

  /** Embed clips together. clips: Float32Array each, mono, of `info.sample_rate`. Gives a Float32Array for each. */
  async embed(clips) {
    return (await this.#run(clips, ["embedding"])).embedding;
  }

  /** Give the tokens of one clip, one for each `info.hop` samples that have begun. */
  async tokens(clip) {
    const { tokens } = await this.#run([clip], ["tokens"]);
    return Array.from(tokens[0], Number);
  }

  /** Give embedding and, if the file has them, tokens of one clip, and the milliseconds that both took. */
  async hear(clip) {
    const begin = performance.now();
    const { embedding, tokens } = await this.#run([clip], ["embedding", ...(this.hasTokens ? ["tokens"] : [])]);
    const milliseconds = performance.now() - begin;
    return { embedding: embedding[0], tokens: tokens ? Array.from(tokens[0], Number) : [], milliseconds };
  }

  /** Let go of the memory that the model holds. */
  async close() {
    await this.#turn;
    await this.#session.release();
  }

  /** Run a batch after those before it: a session does one at a time. Gives one row for each clip, by output. */
  #run(clips, names) {
    const done = this.#turn.then(() => this.#compute(clips, names));
    this.#turn = done.catch(() => {}); // who asked is told; who comes next is not concerned
    return done;
  }

  async #compute(clips, names) {
    const { Tensor } = this.#ort;
    const longest = Math.max(...clips.map((clip) => clip.length));
    const audio = new Float32Array(clips.length * longest);
    clips.forEach((clip, row) => audio.set(clip, row * longest));
    const lengths = BigInt64Array.from(clips, (clip) => BigInt(clip.length));
    const feeds = {
      audio: new Tensor("float32", audio, [clips.length, longest]),
      lengths: new Tensor("int64", lengths, [clips.length]),
    };
    const outputs = await this.#session.run(feeds, names);
    return Object.fromEntries(names.map((name) => [name, rows(outputs[name])]));
  }
}

/** Cut a tensor into copies of its rows, and give its memory back. */
function rows(tensor) {
  const size = tensor.data.length / tensor.dims[0];
  const cut = Array.from({ length: tensor.dims[0] }, (_, row) => tensor.data.slice(row * size, (row + 1) * size));
  tensor.dispose();
  return cut;
}

/** Cosine of two embeddings, which are of length one. */
export function similarity(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}
